"""Every field of every part says something: another value gives another model, or is refused.

Two architectures that differ in a field that nothing reads would be trained twice.
"""

import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from nas.errors import Infeasible
from nas.plan import Call
from nas.search_spaces.base import Part, Place
from tests.contracts.instances import HOSTED, INSTANCES, Instance

PLANNED = ("mixers", "ffns", "norms", "positions")
"""Slots whose parts make a plan by themselves; a hosted part is checked inside its mixer."""
AT = Place(dim=64, depth=6, layer=3, scores_below=True)


@pytest.mark.parametrize(
    "instance", [i for i in INSTANCES if i.slot in (*PLANNED, *HOSTED)], ids=str
)
def test_another_value_is_another_model_or_refused(instance: Instance) -> None:
    spec, at = instance.spec, AT._replace(causal=instance.causal)
    given, own = spec.model_dump(), spec.plan(at)
    idle = []
    for path, annotation, value in _fields(spec):
        others = [_with(given, path, other) for other in _others(annotation, value)]
        plans = list(_plans(type(spec), others, at))
        if plans and all(plan == own for plan in plans):
            idle.append(".".join(path))
    assert idle == []


def _fields(part: Part, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Path, type and value of every number of a part and of the parts in it."""
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from _fields(value, (*path, name))
        elif name != "kind":
            yield (*path, name), info.annotation, value


def _with(given: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**given, first: _with(given[first], tuple(rest), value) if rest else value}


def _plans(part: type[Part], others: Iterable[dict[str, Any]], at: Place) -> Iterator[Call]:
    """How those are built that the part accepts."""
    for numbers in others:
        try:
            yield part.model_validate(numbers).plan(at)
        except (ValidationError, Infeasible):
            continue


def _others(annotation: Any, value: Any) -> list[Any]:
    """Other values of a field."""
    if get_origin(annotation) is Literal:
        return [option for option in get_args(annotation) if option != value]
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _others(inner[0], 4 if value is None else value) if len(inner) == 1 else []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [other for other in (value + 1, value * 2, value - 1, 4) if other != value]
    if isinstance(value, float):
        return [other for other in (value + 0.5, value - 0.5, value / 2) if other != value]
    return []
