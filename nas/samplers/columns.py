"""What a layer or another piece of an architecture is made of, as named numbers.

Nothing here knows any part: names and values are read off the typed fields, and what a mixer
carries from token to token off its `memory`. A new part is encoded without a change.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nas.search_spaces.architecture import Layer
from nas.search_spaces.base import Memory, Mixer, Model, Part, Place

SLOTS = ("mixer", "ffn", "block")


@dataclass(slots=True)
class Columns:
    """Named numbers of one piece."""

    flags: dict[str, float] = field(default_factory=dict)
    """1 where something is so, for example ``mixer=attention``; what is not named is not so."""
    amounts: dict[str, float] = field(default_factory=dict)
    """How much of something there is (`octave`); what is not named has no such number. Of a
    field that several kinds have: ``mixer.heads`` for all, ``mixer:attention.heads`` for one."""


def octave(number: float) -> float:
    """A logarithm that also takes zero and negative numbers: 1 + log2 from 1 up, linear below."""
    size = abs(number)
    return math.copysign(1 + math.log2(size) if size >= 1 else size, number)


def layer_columns(layer: Layer, at: Place) -> Columns:
    """Of one layer at a width, wherever in the stack it stands."""
    found = Columns()
    for slot in SLOTS:
        _add_part(found, slot, getattr(layer, slot), top=True)
    for role in roles(layer.mixer, at):
        found.flags[f"mixer~{role}"] = 1.0
    return found


def outer_columns(architecture: Any) -> Columns:
    """Of everything but the layers and the width."""
    found = Columns()
    for name in type(architecture).model_fields:
        if name not in ("layers", "dim"):
            _add_value(found, name, getattr(architecture, name))
    return found


def roles(mixer: Mixer, at: Place) -> Iterator[str]:
    """How a mixer remembers: ``cache`` grows with every token, ``window`` is a bounded cache,
    ``state`` is recurrent; ``mixing`` is whether tokens see each other at all."""
    memories = list(_all_memories(mixer.memory(at)))
    if any(m.cache_per_token and m.cache_tokens is None for m in memories):
        yield "cache"
    if any(m.cache_per_token and m.cache_tokens is not None for m in memories):
        yield "window"
    if any(m.state for m in memories):
        yield "state"
    if mixer.mixes_tokens:
        yield "mixing"


def _all_memories(memory: Memory) -> Iterator[Memory]:
    yield memory
    for more in memory.more:
        yield from _all_memories(more)


def _add_part(found: Columns, path: str, part: Model, *, top: bool = False) -> None:
    """The kind and the fields of a part; those of a `top` one also under the name of its kind."""
    kind = getattr(part, "kind", None)
    if kind is not None:
        found.flags[f"{path}={kind}"] = 1.0
    for name in type(part).model_fields:
        if name == "kind":
            continue
        value = getattr(part, name)
        _add_value(found, f"{path}.{name}", value)
        if top and not isinstance(value, Part | tuple):
            _add_value(found, f"{path}:{kind}.{name}", value)


def _add_value(found: Columns, path: str, value: Any) -> None:
    if isinstance(value, Model):
        _add_part(found, path, value)
    elif isinstance(value, bool):
        found.flags[path] = float(value)
    elif isinstance(value, int | float):
        found.amounts[path] = octave(value)
    elif isinstance(value, tuple):
        found.amounts[f"{path}.length"] = octave(len(value))
        for index, item in enumerate(value):
            _add_value(found, f"{path}.{index}", item)
    else:  # a word, or None for nothing
        found.flags[f"{path}={value}"] = 1.0
