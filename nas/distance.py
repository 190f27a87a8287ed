"""How far apart two architectures are, from their numbers alone; nothing is built.

Every step below is a metric with values from 0 to 1, and a weighted mean of metrics is one again:

- two numbers: a tenth for being different at all, the rest grows with the logarithm of their ratio
  and is full at a factor of 16;
- two parts: 1 where the kinds differ, else half the mean over their fields;
- two layers: half for the mixer, 3/10 for the FFN, 2/10 for the block;
- two stacks: the cheapest edit script, where a layer costs 1/2 to add or drop and its distance to
  change; made relative to the depths by the Steinhaus transform 2d / (d + (m + n) / 2), which keeps
  the triangle inequality (Yujian and Bo, "A Normalized Levenshtein Distance Metric", 2007);
- two architectures: 70 % the stacks, 15 % the width, and the other fields the rest.
"""

import math
from typing import Any

from nas.search_spaces.architecture import Architecture, Layer
from nas.search_spaces.base import Part

_LAYER_WEIGHTS = {"mixer": 0.5, "ffn": 0.3, "block": 0.2}
_STACK, _WIDTH = 0.7, 0.15
_EDIT = 0.5  # half of the largest change, so that stacks with nothing in common are 1 apart
_OCTAVES = 4.0


def distance(a: Architecture, b: Architecture) -> float:
    """A metric from 0 (the same id) to 1 (nothing in common): symmetric, and no detour is shorter.

    Equal architectures are exactly 0 apart, different ones never are.
    """
    if a.id == b.id:
        return 0.0
    rest = [name for name in Architecture.model_fields if name not in ("layers", "dim")]
    other = math.fsum(_value(getattr(a, name), getattr(b, name)) for name in rest) / len(rest)
    return math.fsum(
        (
            _STACK * _stack(a.layers, b.layers),
            _WIDTH * _value(a.dim, b.dim),
            (1 - _STACK - _WIDTH) * other,
        )
    )


def _stack(a: tuple[Layer, ...], b: tuple[Layer, ...]) -> float:
    edits = _edits(a, b)
    return 2 * edits / (edits + _EDIT * (len(a) + len(b)))


def _edits(a: tuple[Layer, ...], b: tuple[Layer, ...]) -> float:
    """The price of the cheapest edit script from one stack to the other."""
    row = [_EDIT * done for done in range(len(b) + 1)]
    for changes in _changes(a, b):
        above, row = row, [row[0] + _EDIT]
        for column, change in enumerate(changes):
            kept = above[column] + change
            row.append(min(kept, above[column + 1] + _EDIT, row[column] + _EDIT))
    return row[-1]


def _changes(a: tuple[Layer, ...], b: tuple[Layer, ...]) -> list[list[float]]:
    """The distance of each layer of `a` from each of `b`; equal parts are compared once."""
    table = [[0.0] * len(b) for _ in a]
    for slot, weight in _LAYER_WEIGHTS.items():
        numbers: dict[Part, int] = {}
        left, right = (
            [numbers.setdefault(getattr(layer, slot), len(numbers)) for layer in layers]
            for layers in (a, b)
        )
        parts = list(numbers)
        pairs = {(i, j) for i in left for j in right}
        apart = {(i, j): weight * _part(parts[i], parts[j]) for i, j in pairs}
        for row, i in zip(table, left, strict=True):
            for column, j in enumerate(right):
                row[column] += apart[i, j]
    return table


def _part(a: Part, b: Part) -> float:
    if a.kind != b.kind:
        return 1.0
    names = [name for name in type(a).model_fields if name != "kind"]
    if not names:
        return 0.0
    apart = math.fsum(_value(getattr(a, name), getattr(b, name)) for name in names)
    return 0.5 * apart / len(names)


def _value(a: Any, b: Any) -> float:
    """Distance of two values of one field."""
    if isinstance(a, Part) and isinstance(b, Part):
        return _part(a, b)
    if a == b:
        return 0.0
    if _is_number(a) and _is_number(b):
        return 0.1 + 0.9 * min(1.0, abs(_octave(a) - _octave(b)) / _OCTAVES)
    return 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _octave(number: float) -> float:
    """A logarithm that also takes zero and negative numbers: a factor of 2 is about 1, for any
    number from 1 up exactly 1, and below 1 the scale turns linear."""
    size = abs(number)
    return math.copysign(1 + math.log2(size) if size >= 1 else size, number)
