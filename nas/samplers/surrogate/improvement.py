"""How much a candidate is expected to add to the volume that a front dominates.

The region that a front leaves open is cut into boxes. What a point adds to one box is a product
over the objectives, and so is its expectation where the objectives are independent: exact for
objectives that are known, and by quantiles for those that are predicted (Yang et al., "Efficient
computation of expected hypervolume improvement using box decomposition algorithms", 2019).

All objectives are costs. m points, M objectives, B boxes, Q quantiles
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from nas.pareto import Floats, front

QUANTILES = 24


@cache
def normal_points(count: int) -> Floats:
    """[count] equally likely values with mean 0 and deviation 1, at least two."""
    points = ndtri((np.arange(count) + 0.5) / count)
    return np.asarray(points / points.std())


class Boxes(NamedTuple):
    """Boxes that do not overlap; `low` may be minus infinity."""

    low: Floats
    """[B, M]"""
    high: Floats
    """[B, M]"""


def open_boxes(costs: Floats, reference: Floats) -> Boxes:
    """The part of the region below a reference point [M] that no point [N, M] dominates."""
    inside = costs[(costs < reference).all(axis=1)]
    inside = inside[front(inside, ["minimize"] * costs.shape[1])]
    low, high = _cut(np.unique(inside, axis=0), reference)
    return Boxes(low, high)


def expected_improvement(samples: list[Floats], boxes: Boxes) -> Floats:
    """[m] expected additions to the volume. `samples` holds for each objective [m, Q] equally
    likely values, or [m, 1] where the value is known."""
    found = np.ones((len(samples[0]), len(boxes.low)))
    for objective, values in enumerate(samples):
        high = _expected_room(values, boxes.high[:, objective])
        found *= high - _expected_room(values, boxes.low[:, objective])
    return found.sum(axis=1)


def _expected_room(values: Floats, edges: Floats) -> Floats:
    """[m, B] mean distance by which values [m, Q] stay below each edge [B]."""
    distinct, places = np.unique(edges, return_inverse=True)
    finite = np.where(np.isfinite(distinct), distinct, 0.0)
    room = np.maximum(finite[None, :, None] - values[:, None, :], 0.0).mean(axis=2)
    return np.asarray(np.where(np.isfinite(distinct), room, 0.0)[:, places])


def _cut(points: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Slices along the last objective; what is open in a slice is a matter of the points below it,
    in one objective less."""
    objectives = len(reference)
    if objectives == 1:
        best = points[:, 0].min() if len(points) else reference[0]
        return np.array([[-np.inf]]), np.array([[best]])
    if objectives == 2:
        return _stairs(points, reference)
    edges = np.unique(points[:, -1])
    bottoms, tops = np.r_[-np.inf, edges], np.r_[edges, reference[-1]]
    lows, highs = [], []
    for bottom, top in zip(bottoms, tops, strict=True):
        below = points[points[:, -1] <= bottom][:, :-1]
        below = below[front(below, ["minimize"] * (objectives - 1))]
        low, high = _cut(np.unique(below, axis=0), reference[:-1])
        lows.append(np.column_stack([low, np.full(len(low), bottom)]))
        highs.append(np.column_stack([high, np.full(len(high), top)]))
    return np.concatenate(lows), np.concatenate(highs)


def _stairs(points: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """`_cut` for two objectives and a front [N, 2] of distinct points: a box for each step."""
    steps = points[np.argsort(points[:, 1])]
    endless = np.full(len(steps) + 1, -np.inf)
    low = np.column_stack([endless, np.r_[-np.inf, steps[:, 1]]])
    high = np.column_stack([np.r_[reference[0], steps[:, 0]], np.r_[steps[:, 1], reference[1]]])
    return low, high
