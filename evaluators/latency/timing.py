"""Timing of anything: warm-up, interleaved repeats, median and spread. Knows nothing of models."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds, monotonic."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to time. `prepare` makes what one run needs and is not timed."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to go on with each subject."""

    seconds: float
    """Stop when this much was spent on it, preparation and warm-up included ..."""
    min_repeats: int = 3
    """... but never before so many timed runs,"""
    max_repeats: int = 50
    """nor after this many."""
    warm_ups: int = 1
    """Runs before the first that counts."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one run."""

    median: float
    low: float
    """10th percentile."""
    high: float
    """90th percentile."""
    repeats: int


def measure(
    subjects: Mapping[str, Subject],
    effort: Effort,
    *,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Times the subjects in turn, so that a disturbance of the machine meets all of them alike.

    `synchronize` waits until a device has done all it was given; it runs before each look at the
    clock. Garbage collection is off meanwhile.
    """
    runs: dict[str, list[float]] = {name: [] for name in subjects}
    spent = dict.fromkeys(subjects, 0.0)
    with no_garbage_collection():
        for name, subject in subjects.items():
            for _ in range(effort.warm_ups):
                spent[name] += _run_once(subject, clock, synchronize)[1]
        waiting = dict(subjects)
        while waiting:
            for name, subject in list(waiting.items()):
                timed, whole = _run_once(subject, clock, synchronize)
                runs[name].append(timed)
                spent[name] += whole
                if is_enough(len(runs[name]), spent[name], effort):
                    del waiting[name]
    return {name: summarise(times) for name, times in runs.items()}


def is_enough(repeats: int, spent: float, effort: Effort) -> bool:
    """Whether a subject needs no further runs."""
    if repeats < effort.min_repeats:
        return False
    return repeats >= effort.max_repeats or spent >= effort.seconds


def summarise(seconds: list[float]) -> Timing:
    """Median and 10th and 90th percentile, interpolated between neighbours."""
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return 1000 * (ordered[below] + (place - below) * (ordered[above] - ordered[below]))

    return Timing(percentile(0.5), percentile(0.1), percentile(0.9), len(ordered))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects once, then not again until the end."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _run_once(
    subject: Subject, clock: Clock, synchronize: Callable[[], None]
) -> tuple[float, float]:
    """Seconds of the run itself, and with its preparation."""
    begin = clock()
    prepared = subject.prepare()
    synchronize()
    start = clock()
    subject.run(prepared)
    synchronize()
    end = clock()
    return end - start, end - begin
