"""Measures launch choices on a GPU: ``python -m nas.kernels.runtime.tuner --home nas-data``.

It runs outside any timed region: studies read what it wrote and never tune on their own.
"""

import argparse
import importlib
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import NasError, Unavailable
from nas.kernels.runtime.benchmark import Benchmark
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.timing import clock_of
from nas.kernels.runtime.triton_form import INTERPRET
from nas.kernels.runtime.tuning import (
    KERNELS,
    Choice,
    Choices,
    Device,
    Table,
    load_table,
    save_table,
    source_digest,
    use_tuning,
)

Time = Callable[[Choices], float]
"""Seconds of a call with some choices; raises where the device cannot run them."""
GAIN = 0.02
"""A choice has to be faster than the default by this share: less is noise."""
TOKENS = 4096
"""Length of the calls that are timed: long enough to fill a GPU."""
REPEATS = 9


def choose(candidates: Mapping[str, Sequence[Choice]], time: Time) -> dict[str, Choice]:
    """The fastest candidate for each launch, one after the other, the others as chosen so far.

    What is not faster than the default, or does not run, is left out. Raises whatever the default
    raises.
    """
    chosen: dict[str, Choice] = {}
    best = time(chosen)
    for name, options in candidates.items():
        enough = best * (1 - GAIN)
        for option in options:
            try:
                seconds = time({**chosen, name: option})
            except Exception:  # too much shared memory, say: of no use on this device
                continue
            if seconds < enough:
                chosen, best = {**chosen, name: option}, seconds
                enough = seconds
    return chosen


def device_here() -> Device:
    """The GPU of this process.

    Raises Unavailable where there is none or Triton interprets: nothing of worth could be timed.
    """
    if os.environ.get(INTERPRET) == "1":
        raise Unavailable(f"tuning: {INTERPRET}=1 is set, and times of the interpreter say nothing")
    if not torch.cuda.is_available():
        raise Unavailable("tuning: there is no GPU; on a CPU no kernel is launched")
    import triton

    major, minor = torch.cuda.get_device_capability()
    name = torch.cuda.get_device_name()
    return Device(name, f"{major}.{minor}", triton.__version__, source_digest())


def tune(op: str, inputs: Sequence[Any], table: Table) -> Table:
    """The table with choices for the kind of call that `inputs` are, forward and backward."""
    about = importlib.import_module(f"nas.kernels.{op}.tuning")
    call = getattr(importlib.import_module(f"nas.kernels.{op}.api"), op)
    key, clock = about.key_of(*inputs), clock_of(torch.device("cuda"))

    def time(choices: Choices) -> float:
        with use_impl(Impl.TRITON), use_tuning(Table().with_choices(op, key, choices)):
            clock(lambda: _run(call, inputs))  # compiles
            return statistics.median(clock(lambda: _run(call, inputs)) for _ in range(REPEATS))

    return table.with_choices(op, key, choose(about.CANDIDATES, time))


def tunable(kernels: Path = KERNELS) -> list[str]:
    """Ops that have candidates."""
    runtime = Path(__file__).absolute().parent
    return sorted(p.parent.name for p in kernels.glob("*/tuning.py") if p.parent != runtime)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune the ops at the head sizes of their benchmarks; 1 where that cannot be done here."""
    parser = argparse.ArgumentParser(prog="python -m nas.kernels.runtime.tuner")
    parser.add_argument(
        "op", nargs="*", choices=[[], *tunable()], help="all that can be by default"
    )
    parser.add_argument("--home", type=Path, default=Path("nas-data"), help="data folder")
    options = parser.parse_args(arguments)
    try:
        device = device_here()
        folder = options.home / "tuning"
        table = load_table(folder, device)
        for op in options.op or tunable():
            for inputs in _calls(op):
                table = tune(op, inputs, table)
        path = save_table(folder, device, table)
    except NasError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: version {table.version}")
    return 0


def _calls(op: str) -> list[list[Any]]:
    """The calls of an op's benchmark at one length, in both types that training uses."""
    benchmark: Benchmark = importlib.import_module(f"nas.kernels.{op}.bench").BENCHMARK
    found = []
    for case in (case for case in benchmark.cases if case.time == TOKENS):
        for dtype in (torch.bfloat16, torch.float32):
            drawn = enumerate(case.draw())
            found.append([_moved(x, dtype, at in benchmark.wide) for at, x in drawn])
    return found


def _moved(x: Tensor | None, dtype: torch.dtype, wide: bool) -> Tensor | None:
    if x is None or not x.is_floating_point():
        return x if x is None else x.cuda()
    return x.cuda() if wide else x.to("cuda", dtype)


def _run(call: Callable[..., Any], inputs: Sequence[Any]) -> None:
    leaves = [
        x.detach().requires_grad_(x.is_floating_point()) if isinstance(x, Tensor) else x
        for x in inputs
    ]
    found = call(*leaves)
    results = [found] if isinstance(found, Tensor) else list(found)
    torch.autograd.backward(results, [torch.ones_like(x) for x in results])


if __name__ == "__main__":
    sys.exit(main())
