"""How sure a front is: the probability that each point is on it, given how well it was measured.

Each value is taken as its mean with an error. The errors are drawn many times, and the share of
draws in which nothing dominates a point is the probability that it is on the front. This is the
posterior under a flat prior: it is calibrated where candidates differ by more than the errors, and
too sure of itself where all of them are equal but for noise (what looks best was also lucky).

Assumptions, which make it cheap:

- A further seed moves every candidate's metric by the same spread (one pooled deviation), and
  errors of different metrics and different candidates are independent. Candidates that share the
  seed's data also share some of its luck; their order is then surer than it is said to be here.
- A limit holds or does not by the means.

N points, M objectives, D draws
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf, pi, sqrt
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from nas.evaluators.base import Direction
from nas.pareto import Floats, as_costs, front
from nas.record import Measurement, TrialRecord

DRAWS = 2000
"""A probability of 1/2 has then a standard error of 0.011."""
LEAST_DRAWS = 200
LEVEL = 0.8
"""Of the intervals: their ends are the 10th and the 90th percentile."""
CONTENDER = 0.2
"""A point beside the front that is on it with more than this probability is worth naming."""
_CHUNK = 100
"""Draws that are looked at together."""
_DOMINATORS = 100
"""Points that are tried as ones which dominate others in every draw."""
_WORK = 400_000_000
"""Comparisons of one number, at most, where fewer draws can keep to it."""
_STREAM = 6
"""Keeps these draws apart from other streams of a study's seed."""
_PERCENTILES = 2 * NormalDist().inv_cdf(0.9)
"""Standard deviations between the 10th and the 90th percentile of a normal distribution."""
_COMPOSED = 2 * NormalDist().inv_cdf(0.95)
"""The same between the ends of a composed time's interval."""
_OF_A_MEDIAN = sqrt(pi / 2)
"""Standard error of a median over that of a mean, for many normal values."""

Source: TypeAlias = Literal["exact", "seeds", "other seeds", "repeats", "interval"]
"""Where a spread comes from: closed form; this candidate's own seeds; the deviation of a run that
other candidates' seeds show; repeats of a timing; the interval of what was not measured."""


class Error(NamedTuple):
    """How well one value is known."""

    deviation: float
    """Standard error, in the metric's unit."""
    freedom: float
    """Degrees of freedom of that; infinite where it is known or normal."""
    source: Source

    def interval(self, value: float) -> tuple[float, float]:
        """Ends of the interval of `LEVEL` around a value."""
        if self.deviation == 0.0:
            return value, value
        share = (1 + LEVEL) / 2
        times = NormalDist().inv_cdf(share) if isinf(self.freedom) else stdtrit(self.freedom, share)
        reach = float(times) * self.deviation
        return value - reach, value + reach


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of all points."""

    errors: tuple[Error, ...]
    """[N]"""
    shared: bool
    """Whether all deviations but for a factor are one estimate: an error in it is then the same
    for every point."""


class Unknown(NamedTuple):
    """A metric about whose spread nothing is known, and why."""

    metric: str
    reason: str


def columns_of(
    records: Sequence[TrialRecord], metrics: Sequence[str]
) -> tuple[list[Column], list[Unknown]]:
    """The errors of each metric over all records, and the metrics whose errors are unknown.

    Every record has all of the metrics.
    """
    columns, unknown = [], []
    for metric in metrics:
        found = _column(records, metric)
        if isinstance(found, Column):
            columns.append(found)
        else:
            unknown.append(found)
    return columns, unknown


def run_deviation(records: Sequence[TrialRecord], metric: str) -> tuple[float, int]:
    """Standard deviation of one run, pooled over all candidates with several seeds, and its degrees
    of freedom: (0, 0) where there are none."""
    squares, freedom = 0.0, 0
    for record in records:
        runs = runs_of(record, metric)
        if len(runs) > 1:
            squares += float(np.var(runs)) * len(runs)
            freedom += len(runs) - 1
    return (sqrt(squares / freedom), freedom) if freedom else (0.0, 0)


def runs_of(record: TrialRecord, metric: str) -> list[float]:
    """The single runs of a metric that has further seeds; else nothing."""
    prefix = f"{metric}@seed"
    return [m.value for m in record.measurements if m.metric.startswith(prefix)]


def probabilities(
    values: Floats,
    columns: Sequence[Column],
    directions: Sequence[Direction],
    *,
    seed: int,
    draws: int = DRAWS,
) -> tuple[Floats, int]:
    """Share of the draws in which nothing dominates each point, [N], and how many draws there were:
    `draws`, or fewer for a large front of many points.

    `values` is [N, M]. The same arguments give the same shares. A deviation that was estimated is
    drawn as well (scaled inverse chi-squared, the posterior under Jeffreys' prior; Gelman et al.,
    Bayesian Data Analysis, 3rd edition, section 3.2), so that values are Student's t.
    """
    costs = as_costs(values, directions)
    draws = min(draws, _affordable(costs))
    drawn = _draw(costs, columns, np.random.default_rng((seed, _STREAM)), draws)
    order = np.argsort(_spread(drawn, costs), kind="stable")
    counts = np.zeros(len(costs))
    for start in range(0, draws, _CHUNK):
        counts += _times_on_front(drawn[order[start : start + _CHUNK]])
    return counts / draws, draws


def _column(records: Sequence[TrialRecord], metric: str) -> Column | Unknown:
    measured = [next(m for m in r.measurements if m.metric == metric) for r in records]
    if all(_is_exact(m) for m in measured):
        return Column(tuple(Error(0.0, inf, "exact") for _ in measured), shared=False)
    run, freedom = run_deviation(records, metric)
    if freedom:
        counts = [len(runs_of(record, metric)) for record in records]
        errors = (
            Error(run / sqrt(max(1, n)), freedom, "seeds" if n else "other seeds") for n in counts
        )
        return Column(tuple(errors), shared=True)
    found = [_own_error(m) for m in measured]
    known = tuple(error for error in found if error is not None)
    if len(known) == len(found):
        return Column(known, shared=False)
    return Unknown(metric, _why_unknown(measured[found.index(None)]))


def _is_exact(measurement: Measurement) -> bool:
    """Closed form, or counted: bytes come out the same each time."""
    return measurement.stage == "static" or measurement.unit == "bytes"


def _own_error(measurement: Measurement) -> Error | None:
    """From what stands in the measurement itself; None where nothing does.

    A timing is a median with percentiles of single runs: their distance gives the deviation of one
    run, and that of a median of n runs is sqrt(pi / 2) / sqrt(n) times that (the asymptotic
    variance 1 / (4 n f(m)^2) for a normal density f).
    """
    if _is_exact(measurement):
        return Error(0.0, inf, "exact")
    if measurement.low is None or measurement.high is None:
        return None
    width = measurement.high - measurement.low
    if measurement.stage == "composed":
        return Error(width / _COMPOSED, inf, "interval")
    if "@extrapolated" in measurement.metric:
        return Error(width / _PERCENTILES, inf, "interval")
    if measurement.repeats < 2:
        return None
    deviation = _OF_A_MEDIAN * width / _PERCENTILES / sqrt(measurement.repeats)
    return Error(deviation, measurement.repeats - 1, "repeats")


def _why_unknown(measurement: Measurement) -> str:
    if measurement.stage.startswith("train"):
        return (
            f"{measurement.metric} was trained with one seed for every candidate, so nothing is "
            "known of its spread; `confirm` in the study repeats the candidates near the front"
        )
    return f"{measurement.metric} was measured once and has no interval"


def _draw(
    costs: Floats, columns: Sequence[Column], random: np.random.Generator, draws: int
) -> Floats:
    """[D, N, M] costs with errors."""
    drawn = np.broadcast_to(costs, (draws, *costs.shape)).copy()
    for index, column in enumerate(columns):
        deviation = np.array([error.deviation for error in column.errors])
        if not deviation.any():
            continue
        noise = random.standard_normal((draws, len(costs)))
        noise *= deviation * _scales(column, random, draws)
        drawn[:, :, index] += noise
    return drawn


def _scales(column: Column, random: np.random.Generator, draws: int) -> Floats:
    """True over estimated deviation in each draw: [D, 1] or [D, N]."""
    freedom = np.array([error.freedom for error in column.errors])
    if column.shared:
        freedom = freedom[:1]
    finite = np.where(np.isfinite(freedom), freedom, 1.0)
    scales = np.sqrt(finite / random.chisquare(finite, (draws, len(freedom))))
    return np.where(np.isfinite(freedom), scales, 1.0)


def _affordable(costs: Floats) -> int:
    """Draws that the size of the problem allows, about a second's work: `DRAWS` but for many points
    with a large front, where the standard error of a probability grows up to 0.035."""
    on_front = int(front(costs, ["minimize"] * costs.shape[1]).sum())
    return max(LEAST_DRAWS, int(_WORK / (on_front * costs.size))) if costs.size else DRAWS


def _spread(drawn: Floats, costs: Floats) -> Floats:
    """How far each draw strays: [D]. Draws that stray alike are looked at together, since in most
    of them few points can reach the front."""
    spread = np.zeros(len(drawn))
    for column, means in zip(drawn.transpose(2, 0, 1), costs.T, strict=True):
        farthest = np.abs(column - means).max(axis=1)
        spread = np.maximum(spread, farthest / (np.median(farthest) or 1.0))
    return spread


def _times_on_front(drawn: Floats) -> Floats:
    """In how many of some draws [C, N, M] nothing dominates each point: [N]."""
    counts = np.zeros(drawn.shape[1])
    alive = np.flatnonzero(_reaches_front(drawn))
    costs = np.ascontiguousarray(drawn[:, alive].transpose(2, 0, 1))  # [M, C, K]
    counts[alive] = _fronts(costs).sum(axis=0)
    return counts


def _reaches_front(drawn: Floats) -> NDArray[np.bool_]:
    """False for points that one and the same other point dominates in every draw: they are never on
    a front, and whatever they dominate is dominated by that other point too."""
    best, worst = drawn.min(axis=0), drawn.max(axis=0)  # [N, M]
    reaches = np.ones(len(best), dtype=bool)
    # Points whose worst is best overall are the likeliest to dominate; they shrink the rest soon.
    for index in np.argsort(worst.sum(axis=1), kind="stable")[:_DOMINATORS]:
        if reaches[index]:
            reaches &= ~((worst[index] <= best).all(axis=1) & (worst[index] < best).any(axis=1))
    return reaches


def _fronts(costs: Floats) -> NDArray[np.bool_]:
    """Whether nothing dominates each point, in each draw: [C, K] from [M, C, K].

    The first point in lexicographic order that is left is on the front; what it dominates is left
    no longer. All draws take that step together.
    """
    order = np.broadcast_to(np.arange(costs.shape[2]), costs.shape[1:])
    for column in costs[::-1]:
        sorting = np.argsort(np.take_along_axis(column, order, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(order, sorting, axis=1)
    costs = np.take_along_axis(costs, order[None], axis=2)
    found = np.zeros(costs.shape[1:], dtype=bool)
    left = np.ones(costs.shape[1:], dtype=bool)
    places, draws = np.arange(costs.shape[2]), np.arange(costs.shape[1])
    while left.any():
        first = left.argmax(axis=1)
        found[draws, places[first]] |= left[draws, first]
        left[draws, first] = False
        _strike(left, costs[:, draws, first][:, :, None], costs)
        kept = np.atleast_1d(left.any(axis=0))
        if 2 * np.count_nonzero(kept) < len(kept):
            left, costs, places = left[:, kept], costs[:, :, kept], places[kept]
    placed = np.empty_like(found)
    np.put_along_axis(placed, order, found, axis=1)
    return placed


def _strike(left: NDArray[np.bool_], taken: Floats, costs: Floats) -> None:
    """Takes from what is left [C, K] the points [M, C, K] that one of each draw [M, C, 1]
    dominates."""
    beaten = left.copy()
    for one, others in zip(taken, costs, strict=True):
        beaten &= one <= others
    draw, place = np.nonzero(beaten)
    equal = (costs[:, draw, place] == taken[:, draw, 0]).all(axis=0)
    left[draw[~equal], place[~equal]] = False
