"""Timing of functions against each other: warmed up, in turns, with the spread.

Who runs first on a machine that heats up, or while something else runs, is at an advantage; so all
take turns, and the order is turned by one each time.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Run = Callable[[], object]
Clock = Callable[[Run], float]
"""Runs a function and returns the seconds that it took."""

LEAST_SECONDS = 1e-3
"""What is faster than this is repeated within one measurement on a CPU."""
FLUSHED_BYTES = 256 * 2**20
"""More than the L2 cache of any GPU."""


@dataclass(frozen=True)
class Spread:
    """Quartiles of seconds."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Failure:
    """Why there is no measurement."""

    reason: str


def clock_of(device: torch.device) -> Clock:
    """CUDA events with an emptied L2 cache on a GPU, else the wall clock."""
    return _CudaClock(device) if device.type == "cuda" else _wall_clock


def _wall_clock(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class _CudaClock:
    """The time between two events on the device; what the cache held is overwritten before."""

    def __init__(self, device: torch.device) -> None:
        self.filler = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device)

    def __call__(self, run: Run) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.filler.zero_()
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def in_turns(
    runs: Mapping[str, Run], clock: Clock, *, repeats: int, seconds: float = math.inf
) -> dict[str, Spread | Failure]:
    """Time each of the runs `repeats` times, or at least three times where that would take more
    than `seconds` in all. What raises, in the warm-up or later, is a failure."""
    results: dict[str, Spread | Failure] = {}
    warm: dict[str, float] = {}
    for name, run in runs.items():
        try:
            clock(run)  # compiles and tunes
            warm[name] = min(clock(run) for _ in range(2))
        except Exception as error:
            results[name] = Failure(reason(error))
    counts = {name: _count(took, clock) for name, took in warm.items()}
    once = sum(took * counts[name] for name, took in warm.items())
    rounds = min(repeats, max(3, int(min(seconds / once, repeats)))) if once else repeats
    samples: dict[str, list[float]] = {name: [] for name in warm}
    for turn in range(rounds):
        for name in _turned(list(warm), turn):
            if name in results:
                continue
            try:
                took = clock(_repeated(runs[name], counts[name]))
            except Exception as error:
                results[name] = Failure(reason(error))
            else:
                samples[name].append(took / counts[name])
    results |= {name: spread(found) for name, found in samples.items() if name not in results}
    return {name: results[name] for name in runs}


def spread(samples: list[float]) -> Spread:
    """Quartiles of one sample or more."""
    if len(samples) == 1:
        return Spread(*samples * 3)
    return Spread(*statistics.quantiles(samples, n=4, method="inclusive"))


def reason(error: Exception) -> str:
    """One line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def _count(took: float, clock: Clock) -> int:
    """Calls within one measurement: events measure a single one well enough."""
    if isinstance(clock, _CudaClock):
        return 1
    return max(1, math.ceil(LEAST_SECONDS / max(took, 1e-7)))


def _repeated(run: Run, count: int) -> Run:
    def repeated() -> None:
        for _ in range(count):
            run()

    return repeated


def _turned(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]
