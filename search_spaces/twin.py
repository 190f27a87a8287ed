"""A part whose fields may still be questions, and which of their answers go together.

Parts have rules between their fields; numbers may follow from each other. `completes` looks ahead:
an option is offered only if the other fields can still be filled, so that what is drawn is valid by
construction and nothing is repaired or rejected afterwards.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar

from pydantic import TypeAdapter, ValidationError, model_validator

from nas.search_spaces.axes import Scalar
from nas.search_spaces.base import Condition, Model, Part, Place, broken_rules
from nas.search_spaces.domains import Choice, Divide, Range, Times, values

CONTEXT_NUMBERS = ("dim", "depth")
"""Numbers of the surroundings that a derived field may refer to."""
MOST_OPTIONS = 512
"""Values that a field may offer where a rule ties it to others: all combinations are looked at."""


class Twin(Model):
    """A part whose fields may still be questions. Made by `searchable`, never written by hand."""

    part: ClassVar[type[Part]]
    kind: str

    @cached_property
    def memory(self) -> dict[Any, Any]:
        """What was drawn from it before (``remembered.py``)."""
        return {}

    @model_validator(mode="after")
    def _references_exist(self) -> "Twin":
        names = [name for name in type(self).model_fields if name != "kind"]
        numbers = [n for n, info in self.part.model_fields.items() if info.annotation is int]
        for name in names:
            for key, other in named_numbers(getattr(self, name)):
                known = [*CONTEXT_NUMBERS, *(number for number in numbers if number != name)]
                if other not in known:
                    raise ValueError(
                        f"{name}.{key}: {other!r} is no number that {name} can follow from; "
                        f"there are: {', '.join(known)}"
                    )
        for name in names:
            _check_range(self.part, name, getattr(self, name))
        draw_order(self)
        self._refuse_idle_fields()
        for name in related_fields(self):
            domain = getattr(self, name)
            if not references(domain) and len(tuple(values(domain))) > MOST_OPTIONS:
                raise ValueError(
                    f"{name}: too many values where a rule decides which go together; "
                    f"accepted: at most {MOST_OPTIONS}, for example by a choice or a step"
                )
        follows = any(references(getattr(self, name)) for name in names)
        if not follows and not completes(self, {}, related_fields(self), Place(1, 1, 0)):
            says = "; ".join(rule.says for rule in self.part.rules)
            fields = tuple(dict.fromkeys(f for rule in self.part.rules for f in rule.fields))
            raise broken_rules(f"no combination of these values works: {says}", says, fields)
        return self

    def _refuse_idle_fields(self) -> None:
        for condition in self.part.conditions:
            name, other = condition.field, getattr(self, condition.other)
            if getattr(self, name) == condition.elsewhere(self.part) or references(other):
                continue
            if not any(condition.holds(value) for value in values(other)):
                says = condition.advice(self.part)
                raise broken_rules(says, says, (name, condition.other))


def _check_range(part: type[Part], name: str, domain: Any) -> None:
    """Whatever is drawn from a range must be a value of the field. Steps are even, so the first
    members and the last tell for all."""
    if not isinstance(domain, Range):
        return
    members: Sequence[Any] = domain.range
    if isinstance(domain.range[0], int):
        members = (*domain.members()[:2], domain.members()[-1])
    for member in members:
        try:
            _adapter(part, name).validate_python(member)
        except ValidationError as error:
            says = error.errors()[0]["msg"].removeprefix("Input ")
            raise ValueError(f"{name}.range: it holds {member}, which {says}") from None


def field_type(part: type[Part], name: str) -> Any:
    info = part.model_fields[name]
    kind: Any = info.annotation
    for constraint in info.metadata:
        kind = Annotated[kind, constraint]
    return kind


@cache
def _adapter(part: type[Part], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(field_type(part, name))


def references(domain: Any) -> tuple[str, ...]:
    """Names of the numbers from which a derived field follows."""
    return tuple(name for _, name in named_numbers(domain))


def named_numbers(domain: Any) -> tuple[tuple[str, str], ...]:
    """The same names, each after the key of the domain that holds it."""
    if isinstance(domain, Times):
        return (("of", domain.of),)
    if isinstance(domain, Divide):
        by = (("by", domain.by),) if isinstance(domain.by, str) else ()
        return (("divide", domain.divide), *by)
    return ()


def idle_condition(part: type[Part], name: str, chosen: Mapping[str, Any]) -> Condition | None:
    """Why a field says nothing beside what was chosen before; None where it counts."""
    for condition in part.conditions:
        known = condition.field == name and condition.other in chosen
        if known and not condition.holds(chosen[condition.other]):
            return condition
    return None


def is_nested(domain: Any) -> bool:
    """Whether a field holds a part, a choice among parts, or a list of these."""
    if isinstance(domain, Choice):
        return isinstance(domain.choice[0], Twin)
    if isinstance(domain, tuple):
        return bool(domain) and is_nested(domain[0])
    return isinstance(domain, Twin)


def part_classes(domain: Any) -> tuple[Any, ...]:
    """What a rule may see of a field that holds a part: the class of each part on offer."""
    options = domain.choice if isinstance(domain, Choice) else (domain,)
    return tuple(dict.fromkeys(option.part for option in options))


def draw_order(twin: Twin) -> tuple[str, ...]:
    """Number fields in an order in which each comes after those that it follows from.

    Raises ValueError naming the fields that follow from each other in a circle.
    """
    if "order" not in twin.memory:
        twin.memory["order"] = _drawing_order(twin)
    order: tuple[str, ...] = twin.memory["order"]
    return order


def _drawing_order(twin: Twin) -> tuple[str, ...]:
    waiting = [
        name
        for name in type(twin).model_fields
        if name != "kind" and not is_nested(getattr(twin, name))
    ]
    ready: list[str] = []
    while waiting:
        free = [
            name for name in waiting if all(other not in waiting for other in _before(twin, name))
        ]
        if not free:
            raise ValueError(f"{', '.join(waiting)} follow from each other in a circle")
        plain = [name for name in free if not references(getattr(twin, name))]
        ready.extend(plain or free)
        waiting = [name for name in waiting if name not in ready]
    return tuple(ready)


def _before(twin: Twin, name: str) -> tuple[str, ...]:
    """Fields that must be drawn before one: it follows from them, or counts only beside them."""
    conditions = (c.other for c in twin.part.conditions if c.field == name)
    return (*references(getattr(twin, name)), *conditions)


def related_fields(twin: Twin) -> tuple[str, ...]:
    """Fields that depend on others, or on which others depend, in drawing order: numbers, then
    parts."""
    if "related" not in twin.memory:
        twin.memory["related"] = _find_related(twin)
    related: tuple[str, ...] = twin.memory["related"]
    return related


def _find_related(twin: Twin) -> tuple[str, ...]:
    names = {name for rule in twin.part.rules for name in rule.fields}
    for name in type(twin).model_fields:
        following = references(getattr(twin, name))
        names |= {name, *following} if following else set()
    nested = (name for name in type(twin).model_fields if is_nested(getattr(twin, name)))
    return tuple(name for name in (*draw_order(twin), *nested) if name in names)


def candidates(
    twin: Twin, name: str, chosen: Mapping[str, Any], at: Place
) -> Iterator[tuple[Scalar, Any]]:
    """(answer, value) pairs of a field that its own type accepts."""
    domain = getattr(twin, name)
    if is_nested(domain):
        return ((part.__name__, part) for part in part_classes(domain))
    if idle := idle_condition(twin.part, name, chosen):
        value = idle.elsewhere(twin.part)
        return iter([(label_of(value), value)])
    numbers = {**chosen, "dim": at.dim, "depth": at.depth}
    pairs: Iterator[tuple[Any, Any]]
    if isinstance(domain, Times):
        other = numbers[domain.of]
        pairs = ((times, domain.value(times, other)) for times in values(domain.times))
    elif isinstance(domain, Divide):
        by = numbers[domain.by] if isinstance(domain.by, str) else domain.by
        quotient, rest = divmod(numbers[domain.divide], by)
        pairs = iter([(None, quotient)] if rest == 0 else [])
    else:
        pairs = ((value, value) for value in values(domain))
    return ((label_of(a), value) for a, value in pairs if _accepts(twin.part, name, value))


def _accepts(part: type[Part], name: str, value: Any) -> bool:
    try:
        _adapter(part, name).validate_python(value)
    except ValueError:
        return False
    return True


def completes(twin: Twin, chosen: Mapping[str, Any], rest: tuple[str, ...], at: Place) -> bool:
    """Whether the fields in `rest` have values with which every rule holds."""
    for rule in twin.part.rules:
        known = all(name in chosen for name in rule.fields)
        if known and not rule.holds(*(chosen[name] for name in rule.fields)):
            return False
    if not rest:
        return True
    name, *others = rest
    return any(
        completes(twin, {**chosen, name: value}, tuple(others), at)
        for _, value in candidates(twin, name, chosen, at)
    )


def label_of(value: Any) -> Scalar:
    """What an option is called in a record; lists are written as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)
