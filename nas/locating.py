"""The answers with which a space decodes to a given architecture: the reverse of ``decode``.

``decode`` itself is run, with a draw that looks up each question in the architecture. The name of
an axis is the path of what it asks about: a slot, then options, patterns and fields down to a
number. The draw follows that path through the space's domains and through the parts that stand in
the architecture at once, and gives the first option that can still become what stands there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nas.errors import Infeasible
from nas.holding import Looked, can_hold, number_test, placed_in, split_of
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Answers, Axis, RecordingDraw, Scalar
from nas.search_spaces.base import Part
from nas.search_spaces.domains import Choice
from nas.search_spaces.drawing import option_labels
from nas.search_spaces.patterns import (
    Each,
    Pattern,
    Placed,
    placed_layers,
)
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.twin import Twin, is_nested

_LAYER_SLOTS = ("block", "mixer", "ffn")


def answers_of(
    space: SearchSpace,
    architecture: Architecture,
    hints: Mapping[str, Scalar] | None = None,
) -> Answers | None:
    """Answers that decode to the architecture, or None where it is no member of the space.

    `hints` are answers by which it was known elsewhere, such as in another version of the space:
    where several answers to a question of the same name will do, the hint is the one that is given.
    """
    record = RecordingDraw(Lookup(space, architecture, hints or {}))
    try:
        found = space.decode(record)
    except (_Absent, Infeasible):
        return None
    return record.answers if found.id == architecture.id else None


class _Absent(LookupError):
    """No answer leads to the architecture."""


class _Free(LookupError):
    """The question is about a part that stands in no layer; every answer will do."""


class _Held(NamedTuple):
    """A domain, and the parts of the architecture that are to be drawn from it."""

    domain: Any
    parts: tuple[Any, ...]
    """For a slot and its patterns layer by layer; else a single part or value."""


class Lookup:
    """A ``Draw`` that answers as the architecture has it; raises LookupError where nothing fits."""

    def __init__(
        self, space: SearchSpace, architecture: Architecture, hints: Mapping[str, Scalar]
    ) -> None:
        self.space = space
        self.architecture = architecture
        self.hints = hints
        self.found = Looked(architecture.place(0))

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        hint = self._hint(Axis(axis, options))
        likeliest_first = options if hint is None else (hint, *options)
        try:
            fits = self._test(axis.split("[")[0])
        except _Free:
            return likeliest_first[0]
        for option in likeliest_first:
            if fits(option):
                return option
        raise _Absent(axis)

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        value = self._value(Axis(axis, None, low, high, step, log))
        if not low <= value <= high or (value - low) % step:
            raise _Absent(axis)
        return int(value)

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        value = self._value(Axis(axis, None, low, high, None, log))
        if not low <= value <= high:
            raise _Absent(axis)
        return float(value)

    def _hint(self, axis: Axis) -> Scalar:
        """The hint for a question, or None where there is none that would be an answer to it."""
        hint = self.hints.get(axis.name)
        return hint if hint is not None and axis.contains(hint) else None

    def _value(self, axis: Axis) -> Any:
        """The number that stands in the architecture where an axis asks."""
        if axis.name in ("depth", "dim"):
            return getattr(self.architecture, axis.name)
        try:
            _, name, part = self._field(axis.name.split("."))
        except _Free:
            hint = self._hint(axis)
            return axis.low if hint is None else hint
        return getattr(part, name)

    def _test(self, axis: str) -> Callable[[Scalar], bool]:
        """Whether an option of a question leads to the architecture."""
        if axis in ("depth", "dim", "tied"):
            value = getattr(self.architecture, axis)
            return lambda option: option == value
        held, rest = self._descend(axis.split("."))
        if isinstance(held.domain, Choice) and not rest:
            return self._choice_test(held)
        if isinstance(held.domain, Pattern):
            return self._pattern_test(held, rest[0])
        twin, name, part = self._field(axis.removesuffix(".times").split("."))
        return number_test(twin, name, part, self.found.at)

    def _choice_test(self, held: _Held) -> Callable[[Scalar], bool]:
        labels = option_labels(held.domain)
        return lambda option: can_hold(labels[str(option)], held.parts, self.found)

    def _pattern_test(self, held: _Held, question: str) -> Callable[[Scalar], bool]:
        count, placement = split_of(held.domain, held.parts, self.found) or (None, None)
        if question == "placement":
            return lambda option: option == placement
        if question == "ratio":
            return lambda option: placed_layers(str(option), len(held.parts)) == count
        return lambda option: option == count

    def _field(self, path: Sequence[str]) -> tuple[Twin, str, Part]:
        """The twin, field and part that the axis of a number asks about."""
        *above, name = path
        held, rest = self._descend(above)
        if rest or not isinstance(held.domain, Twin):
            raise _Absent(".".join(path))
        return held.domain, name, held.parts[0]

    def _descend(self, path: Sequence[str]) -> tuple[_Held, list[str]]:
        """What a path leads to, and the names of it that are left: a question about a pattern, or a
        number."""
        slot, *rest = path
        parts: tuple[Any, ...] = (getattr(self.architecture, slot, None),)
        if slot in _LAYER_SLOTS:
            parts = tuple(getattr(layer, slot) for layer in self.architecture.layers)
        held = _Held(getattr(self.space, slot), parts)
        while rest:
            below = _step(held, rest, self.found)
            if below is None:
                break
            held, rest = below
        return held, rest


def _step(held: _Held, path: list[str], found: Looked) -> tuple[_Held, list[str]] | None:
    """One step down; None where the next name is a question and leads no further."""
    domain, parts = held
    name, *rest = path
    if isinstance(domain, Choice):
        return _Held(option_labels(domain)[name], parts), rest
    if isinstance(domain, tuple):
        return _Held(domain[int(name)], (parts[0][int(name)],)), rest
    if isinstance(domain, Twin):
        inner = getattr(domain, name)
        if not is_nested(inner):
            return None
        return _Held(inner, (getattr(parts[0], name),)), rest
    if name in ("ratio", "count", "placement"):
        return None
    if isinstance(domain, Placed):
        layers = placed_in(domain, parts, found)
        own = tuple(p for i, p in enumerate(parts) if (i in layers) == (name == "placed"))
        return _Held(getattr(domain, name), own), rest
    index = int(name)
    if isinstance(domain, Each):
        return _Held(domain.part, (parts[index],)), rest
    turns = tuple(parts[index :: len(domain.parts)])
    if not turns:  # fewer layers than parts
        raise _Free(name)
    return _Held(domain.parts[index], turns), rest
