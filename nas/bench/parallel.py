"""Runs spread over processes; what they find does not depend on how many there are."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeAlias

from nas.bench.running import Trace

Work: TypeAlias = Callable[[str, int], Trace]
"""(sampler, seed)"""
OnRun: TypeAlias = Callable[[int, int, Trace], None]
"""(runs done, runs in all, the one that ended last)"""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_all(
    work: Work, runs: Sequence[tuple[str, int]], jobs: int | None, on_run: OnRun
) -> list[Trace]:
    """The trace of each run, in the order of `runs`. `jobs` is the number of processes, with one
    thread each; None runs in this process, on the threads that it has."""
    if jobs is None:
        traces = []
        for run in runs:
            traces.append(work(*run))
            on_run(len(traces), len(runs), traces[-1])
        return traces
    return _in_processes(work, runs, jobs, on_run)


def _in_processes(
    work: Work, runs: Sequence[tuple[str, int]], jobs: int, on_run: OnRun
) -> list[Trace]:
    context = multiprocessing.get_context("spawn")  # a fork would share locks of libraries
    with _one_thread(), ProcessPoolExecutor(min(jobs, len(runs) or 1), context) as pool:
        futures = [pool.submit(work, *run) for run in runs]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                on_run(done, len(runs), future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


@contextmanager
def _one_thread() -> Iterator[None]:
    """What is started inside computes on one thread: a library reads this as it is loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
