"""Figures of runs, and means over seeds with bootstrap intervals.

N rows, S seeds
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nas.bench.report import Estimate, Figures
from nas.bench.running import Trace
from nas.bench.table import Table
from nas.pareto import Floats

LEVEL = 0.95
RESAMPLES = 2000


def figures(table: Table, trace: Trace, evaluations: int) -> Figures:
    """What a run had reached after some evaluations."""
    rows = np.unique(trace.rows[:evaluations])
    found = table.front_points(rows)
    true = table.front_points(table.front)
    right = len(found & true)
    asked = trace.asked[min(evaluations, len(trace.asked)) - 1]
    return Figures(
        hypervolume=table.volume(table.front_of(rows)) / table.hypervolume,
        precision=right / len(found),
        recall=right / len(true),
        unique=min(1.0, len(rows) / asked),
    )


def curve(table: Table, trace: Trace, places: Sequence[int]) -> Floats:
    """Share of the true hypervolume after each number of evaluations."""
    shares = []
    kept = np.empty(0, dtype=int)
    for before, place in zip((0, *places), places, strict=False):
        kept = table.front_of(np.union1d(kept, trace.rows[before:place]).astype(int))
        shares.append(table.volume(kept) / table.hypervolume)
    return np.array(shares)


def estimate(values: ArrayLike, *, resamples: int = RESAMPLES) -> Estimate:
    """Mean over seeds [S] and the percentiles of a bootstrap over them (Efron, Annals of Statistics
    7, 1979), 95 %; no interval for a single seed. The same S draws the same resamples."""
    given = np.asarray(values, dtype=float)
    if len(given) < 2:
        return Estimate(mean=float(given.mean()))
    drawn = np.random.default_rng(0).integers(len(given), size=(resamples, len(given)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(given[drawn].mean(axis=1), [tail, 1 - tail])
    return Estimate(mean=float(given.mean()), low=float(low), high=float(high))
