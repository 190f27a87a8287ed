"""How the workers of a study share the memory of a GPU: each gets what a candidate may use.

Each worker is a process of its own, so their kernels overlap only as far as the driver lets
processes take turns; with NVIDIA's multi-process service they run side by side.
"""

from nas.errors import BadInput, Problem

CONTEXT_GIB = 0.5
"""Kept back for each worker's CUDA context, which torch's bound does not count. An assumption: it
depends on the driver and on the kernels that are loaded, and has not been measured here."""


def memory_share(total_bytes: int, *, workers: int, candidate_gib: float) -> float:
    """Share of the device's memory that one worker may allocate.

    Raises:
        BadInput: the workers of the study could need more than there is. One worker alone gets
            all there is instead.
    """
    total = total_bytes / 2**30
    if workers > 1 and workers * (candidate_gib + CONTEXT_GIB) > total:
        raise BadInput(_too_much(total, workers, candidate_gib), [_problem(total, workers)])
    return min(1.0, candidate_gib / total)


def _too_much(total: float, workers: int, candidate_gib: float) -> str:
    fitting = int(total / (candidate_gib + CONTEXT_GIB))
    smaller = total / workers - CONTEXT_GIB
    said = (
        f"{workers} workers (driver.workers) with {candidate_gib:g} GiB each "
        f"(budget.candidate_gib) and {CONTEXT_GIB:g} GiB for each one's CUDA context do not fit "
        f"into the {total:.1f} GiB of the GPU; accepted: at most {max(1, fitting)} workers"
    )
    return said + (f", or candidate_gib {smaller:.2f} or less" if smaller >= 0.01 else "")


def _problem(total: float, workers: int) -> Problem:
    return Problem("driver.workers", f"too many for a GPU of {total:.1f} GiB", workers)
