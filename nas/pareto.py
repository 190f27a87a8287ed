"""Pareto fronts. Numpy in, numpy out.

`values` is always [N, M]: N points with M objectives, all finite; `directions` names for each
objective whether small or large is better. A function raises ValueError for anything else.

N points, M objectives
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.evaluators.base import Direction

Floats = NDArray[np.floating[Any]]


def as_costs(values: ArrayLike, directions: Sequence[Direction]) -> Floats:
    """The values with maximised objectives negated, so that small is better everywhere."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] != len(directions) or not directions:
        raise ValueError(f"expected values [N, {len(directions)}], not {list(table.shape)}")
    if not np.isfinite(table).all():
        raise ValueError("values must be finite")
    return table * np.where(np.array(directions) == "maximize", -1.0, 1.0)


def front(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Whether no other point dominates each point: is as good everywhere and better somewhere.

    Equal points do not dominate each other, so duplicates on the front are all kept.
    """
    costs = as_costs(values, directions)
    if costs.shape[1] == 2:
        return _front_of_two(costs)
    mask = np.zeros(len(costs), dtype=bool)
    kept = np.empty_like(costs)
    count = 0
    # In this order a point can only be dominated by one that came before it.
    for index in np.lexsort(costs.T[::-1]):
        point = costs[index]
        if not _dominating(kept[:count], point).any():
            mask[index] = True
            kept[count] = point
            count += 1
    return mask


def rank(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.int_]:
    """Front number of each point: 0 on the front, 1 on the front of the rest, and so on."""
    costs = as_costs(values, directions)
    ranks = np.full(len(costs), -1)
    level = 0
    while (left := np.flatnonzero(ranks < 0)).size:
        ranks[left[front(costs[left], ["minimize"] * costs.shape[1])]] = level
        level += 1
    return ranks


def crowding(values: ArrayLike) -> Floats:
    """Crowding distance within one front (Deb et al., NSGA-II, 2002): the sum over objectives of
    the gap between a point's neighbours, relative to the range; infinite at the ends."""
    table = np.asarray(values, dtype=float)
    distance = np.zeros(len(table))
    for column in table.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        span = ordered[-1] - ordered[0] if len(ordered) else 0.0
        if span > 0:
            distance[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
        distance[order[:1]] = distance[order[-1:]] = np.inf
    return distance


def hypervolume(
    values: ArrayLike, reference: ArrayLike, directions: Sequence[Direction] | None = None
) -> float:
    """Volume that the points dominate within a reference point [M]; exact.

    All objectives are minimised unless `directions` says otherwise. Points that are not better
    than the reference in every objective add nothing. The work grows as N to the power M - 1.
    """
    corner = np.atleast_1d(np.asarray(reference, dtype=float))
    directions = directions or ["minimize"] * len(corner)
    costs = as_costs(values, directions)
    bound = as_costs(corner[None], directions)[0]
    costs = costs[(costs < bound).all(axis=1)]
    return _sliced_volume(costs[front(costs, ["minimize"] * len(corner))], bound)


def knee(values: ArrayLike, directions: Sequence[Direction]) -> int:
    """Index of the point of a front that gives the most for the least.

    Each objective is scaled to 0..1 over the front. The knee is the point farthest below the line,
    plane or hyperplane through the ends of the unit axes, on which one objective is traded for
    another at par; that is the one with the smallest sum. With one objective it is the best point.
    Where several tie, as the two points of a front of two do, the one that is better in the first
    objective wins, then the one that comes first.
    """
    costs = as_costs(values, directions)
    if not len(costs):
        raise ValueError("an empty front has no knee")
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    height = scaled.sum(axis=1).round(12)  # ties must not hang on rounding
    return int(np.lexsort((scaled[:, 0], height))[0])


def _front_of_two(costs: Floats) -> NDArray[np.bool_]:
    """Distinct points in the order of the first cost are on the front where the second one is lower
    than ever before."""
    distinct, places = np.unique(costs, axis=0, return_inverse=True)
    before = np.minimum.accumulate(np.r_[np.inf, distinct[:, 1]])[:-1]
    return np.asarray((distinct[:, 1] < before)[places.reshape(-1)])


def _dominating(points: Floats, point: Floats) -> NDArray[np.bool_]:
    """Which of some points dominate one point; costs."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def _sliced_volume(costs: Floats, bound: Floats) -> float:
    """Cuts along the last objective; each slice is a volume in one dimension less."""
    if not len(costs):
        return 0.0
    if costs.shape[1] == 1:
        return float(bound[0] - costs.min())
    costs = costs[np.argsort(costs[:, -1], kind="stable")]
    edges = np.append(costs[1:, -1], bound[-1])
    total = 0.0
    for count, (cost, edge) in enumerate(zip(costs, edges, strict=True), start=1):
        if edge > cost[-1]:
            below = costs[:count, :-1]
            below = below[front(below, ["minimize"] * below.shape[1])]
            total += float(edge - cost[-1]) * _sliced_volume(below, bound[:-1])
    return total
