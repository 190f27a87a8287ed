"""What a field of a space may be: a value, or a question with its possible answers.

    64                                        a value
    {"choice": [64, 96, 128]}                 one of these
    {"range": [2, 6], "step": 2}              an inclusive range; "log": true for a log scale
    {"times": 4, "of": "dim", "round_to": 8}  follows from another number
    {"divide": "dim", "by": "heads"}          the same, and only where it divides exactly

The searchable twin of a part is derived from the part by ``searchable``: the same fields, each of
which may also be a domain. It is never written a second time.
"""

import builtins
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from nas.search_spaces.base import Model

T = TypeVar("T")
Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]


class Choice(Model, Generic[T]):
    """One of several values."""

    choice: Annotated[tuple[T, ...], Field(min_length=1)]

    @cached_property
    def memory(self) -> builtins.dict[Any, Any]:
        """What was drawn from it before (``remembered.py``)."""
        return {}

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({repr(option) for option in self.choice}) < len(self.choice):
            raise ValueError("the options of a choice must differ from each other")
        return self


class Range(Model, Generic[T]):
    """All values from low to high, both included."""

    range: tuple[T, T]
    step: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Distance between whole numbers; only for a range of whole numbers."""
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.range
        if not low < high:  # type: ignore[operator]
            raise ValueError(f"a range runs from a lower to a higher value, not {low} to {high}")
        if self.log and (low <= 0 or self.step):  # type: ignore[operator]
            raise ValueError("a log range needs a positive lower end and no step")
        if self.step and not isinstance(low, int):
            raise ValueError("a step is for whole numbers")
        return self

    def members(self) -> Sequence[int]:
        """The whole numbers of the range."""
        low, high = self.range
        assert isinstance(low, int)
        assert isinstance(high, int)
        return builtins.range(low, high + 1, self.step or 1)


class Times(Model):
    """A number that follows from another: round(times x of / round_to) x round_to."""

    times: Annotated[
        Annotated[Number, Tag("value")] | Annotated[Choice[Number], Tag("choice")],
        Discriminator(lambda given: domain_tag(given)),
    ]
    of: str
    """``dim``, ``depth``, or another field of the same part."""
    round_to: Annotated[int, Field(strict=True, ge=1)] = 1

    def value(self, times: float, other: int) -> int:
        """The number itself, at least `round_to`."""
        return max(1, round(times * other / self.round_to)) * self.round_to


class Divide(Model):
    """A number that follows from two others, and only where the division leaves no rest."""

    divide: str
    by: Annotated[int, Field(strict=True, ge=1)] | str


DERIVED = (Times, Divide)


def domain_tag(given: Any) -> str:
    """Which form of a field this is, told by its keys alone."""
    for key in ("choice", "range", "times", "divide"):
        if key in given if isinstance(given, dict) else hasattr(given, key):
            return key
    return "value"


def domain_of(kind: Any, number: type[int] | type[float] | None = None) -> Any:
    """The type of a field that is either of type `kind` or a domain over it.

    `number` is set where a range makes sense; whole numbers may also follow from others.
    """
    forms: Any = Annotated[kind, Tag("value")] | Annotated[Choice[kind], Tag("choice")]
    if number is not None:
        strict: Any = Annotated[number, Field(strict=number is int)]
        forms = forms | Annotated[Range[strict], Tag("range")]
    if number is int:
        forms = forms | Annotated[Times, Tag("times")] | Annotated[Divide, Tag("divide")]
    return Annotated[forms, Discriminator(domain_tag)]


WholeNumber = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
IntDomain = domain_of(WholeNumber, int)
BoolDomain = domain_of(Annotated[bool, Field(strict=True)])


def values(domain: Any) -> Iterator[Any]:
    """The members of a value, a choice, or a range of whole numbers."""
    if isinstance(domain, Choice):
        yield from domain.choice
    elif isinstance(domain, Range):
        yield from domain.members()
    else:
        yield domain
