"""Whether a candidate has to be measured, or whether what is predicted of it settles the matter.

Pure functions on numbers; nothing is measured here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nas.study import Limit, Objective


class Interval(NamedTuple):
    """Where a value lies; both ends are the same where it is known."""

    low: float
    high: float


def could_change(
    front: Sequence[Mapping[str, float]],
    candidate: Mapping[str, Interval],
    objectives: Sequence[Objective],
    limits: Sequence[Limit] = (),
) -> bool:
    """Whether knowing the candidate's values could change the front or decide a limit."""
    return why_measure(front, candidate, objectives, limits) is not None


def why_measure(
    front: Sequence[Mapping[str, float]],
    candidate: Mapping[str, Interval],
    objectives: Sequence[Objective],
    limits: Sequence[Limit] = (),
) -> str | None:
    """Why the candidate has to be measured, in words; None if it need not be.

    `front` holds the measured values of each point of the present front, by metric; `candidate` an
    interval for each metric that is known or predicted. An objective without an interval (a loss
    before training) could be anything. A limit without one is left to whoever measures its metric.

    A candidate that certainly breaks a limit is not measured, nor one that is dominated even if
    every value turns out as good as its interval allows. All others are, so whatever is on the
    front in the end has been measured.

    Raises:
        ValueError: an interval whose ends are NaN or the wrong way round, or a point of the front
            without one of the objectives.
    """
    for metric, interval in candidate.items():
        if not interval.low <= interval.high:
            raise ValueError(f"{metric}: {interval} is no interval")
    if any(_holds(limit, candidate) is False for limit in limits):
        return None
    if why := open_limit(candidate, limits):
        return why
    best = [_best(objective, candidate) for objective in objectives]
    if any(_dominates(_costs(point, objectives), best) for point in front):
        return None
    return "it could be on the front"


def open_limit(candidate: Mapping[str, Interval], limits: Sequence[Limit]) -> str | None:
    """The first limit that holds for some values of an interval and not for others, in words."""
    for limit in limits:
        if _holds(limit, candidate) is None and limit.metric in candidate:
            low, high = candidate[limit.metric]
            return f"{limit.metric} is between {low:.4g} and {high:.4g}, which leaves a limit open"
    return None


def least_excess(limit: Limit, interval: Interval) -> float:
    """How far a limit is broken, relative to the bound, by the value of an interval that breaks it
    least; 0 where a value of the interval holds it."""
    if _holds(limit, {limit.metric: interval}) is not False:
        return 0.0
    return min(limit.excess(interval.low), limit.excess(interval.high))


def _holds(limit: Limit, candidate: Mapping[str, Interval]) -> bool | None:
    """Whether a limit holds for every value, for none (False), or for some only (None)."""
    if limit.metric not in candidate:
        return None
    low, high = candidate[limit.metric]
    floor = -math.inf if limit.min is None else limit.min
    ceiling = math.inf if limit.max is None else limit.max
    if low > ceiling or high < floor:
        return False
    return True if floor <= low and high <= ceiling else None


def _best(objective: Objective, candidate: Mapping[str, Interval]) -> float:
    """The lowest cost that is possible; a maximised objective costs its negative."""
    low, high = candidate.get(objective.metric, Interval(-math.inf, math.inf))
    return low if objective.direction == "minimize" else -high


def _costs(point: Mapping[str, float], objectives: Sequence[Objective]) -> list[float]:
    missing = [each.metric for each in objectives if each.metric not in point]
    if missing:
        raise ValueError(f"a point of the front lacks {', '.join(missing)}")
    signs = [1.0 if each.direction == "minimize" else -1.0 for each in objectives]
    return [sign * point[each.metric] for sign, each in zip(signs, objectives, strict=True)]


def _dominates(point: Sequence[float], other: Sequence[float]) -> bool:
    """As good everywhere and better somewhere."""
    pairs = list(zip(point, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
