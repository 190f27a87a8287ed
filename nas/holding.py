"""Which parts of an architecture a domain of a space can be drawn as: exactly, and looking ahead.

What is asked of one architecture and one space is kept, so that nothing is looked up twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas.search_spaces.axes import Scalar
from nas.search_spaces.base import Part, Place
from nas.search_spaces.domains import Choice, Divide, Range, Times, values
from nas.search_spaces.patterns import (
    CountOf,
    Each,
    Explicit,
    Placed,
    Ratio,
    Repeat,
    placed_layers,
    positions,
)
from nas.search_spaces.twin import Twin, idle_condition, is_nested, label_of


@dataclass(frozen=True, slots=True)
class Looked:
    """Where parts stand, and what was found out about them, so that nothing is looked up twice.
    Domains and parts go by identity: both live as long as the search."""

    at: Place
    drawn: dict[tuple[int, int], bool] = field(default_factory=dict)
    """By domain and part: whether the one can be drawn as the other."""
    splits: dict[tuple[int, ...], "Split | None"] = field(default_factory=dict)
    """By pattern and parts."""


class Split(NamedTuple):
    """How many layers a pattern places, and where; no placement where all layers are alike."""

    placed: int
    placement: Scalar | None


def can_hold(domain: Any, parts: Sequence[Any], found: Looked) -> bool:
    """Whether a slot, a pattern or a part's domain can be drawn as these parts, layer by layer; one
    part that is no pattern stands in all of them."""
    if isinstance(domain, Choice):
        return any(can_hold(option, parts, found) for option in domain.choice)
    if isinstance(domain, Each):
        return all(can_hold(domain.part, (part,), found) for part in parts)
    if isinstance(domain, Explicit):
        pairs = zip(domain.parts, parts, strict=False)
        return len(domain.parts) == len(parts) and all(can_hold(d, (p,), found) for d, p in pairs)
    if isinstance(domain, Repeat):
        turns = len(domain.parts)
        own = ((d, parts[i::turns]) for i, d in enumerate(domain.parts))
        return all(can_hold(d, held, found) for d, held in own if held)
    if isinstance(domain, Placed):
        return split_of(domain, parts, found) is not None
    first = parts[0]
    return _is_drawn(domain, first, found) and all(p is first or p == first for p in parts)


def split_of(domain: Placed, parts: Sequence[Any], found: Looked) -> Split | None:
    """The first one with which the parts come out, or None."""
    key = (id(domain), *map(id, parts))
    if key not in found.splits:
        found.splits[key] = next(_splits(domain, parts, found), None)
    return found.splits[key]


def _splits(domain: Placed, parts: Sequence[Any], found: Looked) -> Iterator[Split]:
    depth = len(parts)
    for count in _counts(domain, depth):
        mixed = 0 < count < depth
        for placement in values(domain.placement) if mixed else (None,):
            layers = positions(count, depth, placement) if mixed else frozenset(range(count))
            sides = ((True, domain.placed), (False, domain.background))
            if all(
                not own or can_hold(held, own, found)
                for side, held in sides
                for own in [[p for i, p in enumerate(parts) if (i in layers) == side]]
            ):
                yield Split(count, placement)


def _counts(domain: Placed, depth: int) -> list[int]:
    if isinstance(domain, Ratio):
        return sorted({placed_layers(ratio, depth) for ratio in values(domain.ratio)})
    assert isinstance(domain, CountOf)
    return sorted({count for count in values(domain.count) if count <= depth})


def placed_in(domain: Placed, parts: Sequence[Any], found: Looked) -> frozenset[int]:
    count, placement = split_of(domain, parts, found) or (0, None)
    if placement is None:
        return frozenset(range(count))
    return positions(count, len(parts), placement)


def _is_drawn(domain: Any, part: Any, found: Looked) -> bool:
    """Whether a twin, a tuple of twins or a fixed value can be drawn as a part."""
    key = (id(domain), id(part))
    if key not in found.drawn:
        found.drawn[key] = _may_become(domain, part, found)
    return found.drawn[key]


def _may_become(domain: Any, part: Any, found: Looked) -> bool:
    if isinstance(domain, tuple):
        pairs = zip(domain, part, strict=False)
        return len(domain) == len(part) and all(can_hold(d, (p,), found) for d, p in pairs)
    if not isinstance(domain, Twin) or part.kind != domain.kind:
        return False
    names = (name for name in type(domain).model_fields if name != "kind")
    return all(_field_fits(domain, name, part, found) for name in names)


def _field_fits(twin: Twin, name: str, part: Part, found: Looked) -> bool:
    domain, value = getattr(twin, name), getattr(part, name)
    if is_nested(domain):
        return can_hold(domain, (value,), found) if value is not None else False
    if idle := idle_condition(twin.part, name, _fields(part)):
        return bool(value == idle.elsewhere(twin.part))
    if isinstance(domain, Times):
        fits = number_test(twin, name, part, found.at)
        return any(fits(label_of(times)) for times in values(domain.times))
    if isinstance(domain, Divide):
        numbers = _numbers(part, found.at)
        by = numbers[domain.by] if isinstance(domain.by, str) else domain.by
        return bool(value * by == numbers[domain.divide])
    if isinstance(domain, Range) and isinstance(domain.range[0], float):
        return bool(domain.range[0] <= value <= domain.range[1])
    return any(label_of(option) == label_of(value) for option in values(domain))


def number_test(twin: Twin, name: str, part: Part, at: Place) -> Callable[[Scalar], bool]:
    domain, value = getattr(twin, name), getattr(part, name)
    if not isinstance(domain, Times):
        return lambda option: option == label_of(value)
    other = _numbers(part, at)[domain.of]
    return lambda option: domain.value(option, other) == value  # type: ignore[arg-type]


def _numbers(part: Part, at: Place) -> dict[str, Any]:
    return {**_fields(part), "dim": at.dim, "depth": at.depth}


def _fields(part: Part) -> dict[str, Any]:
    """By name; ``dict(part)`` fails for a part that has a field called ``keys``."""
    return {name: getattr(part, name) for name in type(part).model_fields}
