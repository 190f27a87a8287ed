"""The searchable twin of a part, and how one part is drawn from it.

A twin has the fields of its part, each of which may also be a domain. Drawing obeys the part's
rules by looking ahead: an option is offered only if the other fields can still be completed, so a
drawn part is valid by construction and nothing is repaired or rejected afterwards.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)

from nas.errors import Infeasible
from nas.search_spaces.axes import Draw, Scalar
from nas.search_spaces.base import Model, Part, Place, broken_rules
from nas.search_spaces.catalogue import NESTED_SLOTS
from nas.search_spaces.domains import Choice, Divide, Range, Times, domain_of, values

CONTEXT_NUMBERS = ("dim", "depth")
"""Numbers of the surroundings that a derived field may refer to."""
LONGEST_LIST = 80
"""Characters of options that the name of an axis may spell out."""
MOST_OPTIONS = 512
"""Values that a field may offer where a rule ties it to others: all combinations are looked at."""


class Twin(Model):
    """A part whose fields may still be questions. Made by `searchable`, never written by hand."""

    model_config = ConfigDict(use_attribute_docstrings=False)  # made in memory: there is no source

    part: ClassVar[type[Part]]
    kind: str

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
        for name in _related(self):
            domain = getattr(self, name)
            if not references(domain) and len(tuple(values(domain))) > MOST_OPTIONS:
                raise ValueError(
                    f"{name}: too many values where a rule decides which go together; "
                    f"accepted: at most {MOST_OPTIONS}, for example by a choice or a step"
                )
        follows = any(references(getattr(self, name)) for name in names)
        if not follows and not _completes(self, {}, _related(self), Place(1, 1, 0)):
            says = "; ".join(rule.says for rule in self.part.rules)
            fields = tuple(dict.fromkeys(f for rule in self.part.rules for f in rule.fields))
            raise broken_rules(f"no combination of these values works: {says}", says, fields)
        return self


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


@cache
def searchable(part: type[Part]) -> type[Twin]:
    """The twin of a part, derived from its fields."""
    fields: dict[str, Any] = {}
    for name, info in part.model_fields.items():
        if name == "kind":
            fields[name] = (info.annotation, info.default)
            continue
        nested = NESTED_SLOTS.get((part.__name__, name))
        if nested is not None:
            kind, default = part_domain(nested), info.default
            if not info.is_required():
                own: type[Part] = type(default)
                default = searchable(own).model_validate(default.model_dump())
        else:
            number = _number_type(info.annotation)
            kind, default = domain_of(_field_type(part, name), number), info.default
        fields[name] = (kind, Field(...) if info.is_required() else default)
    twin = create_model(f"{part.__name__}Space", __base__=Twin, __doc__=part.__doc__, **fields)
    twin.part = part
    return twin


def part_domain(parts: Mapping[str, type[Part]]) -> Any:
    """The type of a field that holds one of some parts, or a choice among them."""
    twins = {kind: searchable(part) for kind, part in parts.items()}
    return tagged_union(dict(twins), list(twins.values()))


def tagged_union(tagged: dict[str, Any], options: list[Any]) -> Any:
    """A union told apart by ``kind``, plus ``{"choice": [...]}`` over `options`."""
    forms: Any = Annotated[Choice.__class_getitem__(_union(options)), Tag("choice")]
    for kind, form in tagged.items():
        forms = forms | Annotated[form, Tag(kind)]
    kinds = ", ".join(sorted(tagged))
    return Annotated[
        forms,
        Discriminator(
            _part_tag,
            custom_error_type="kind",
            custom_error_message=(
                f"expected an object with a known 'kind' ({kinds}) or {{'choice': [...]}}"
            ),
        ),
    ]


def _union(options: list[Any]) -> Any:
    if len(options) == 1:
        return options[0]
    forms: Any = Annotated[options[0], Tag(_kind_of(options[0]))]
    for option in options[1:]:
        forms = forms | Annotated[option, Tag(_kind_of(option))]
    kinds = ", ".join(sorted(_kind_of(option) for option in options))
    return Annotated[
        forms,
        Discriminator(
            _part_tag,
            custom_error_type="kind",
            custom_error_message=f"expected an object with a known 'kind': {kinds}",
        ),
    ]


def _kind_of(model: Any) -> str:
    return str(model.model_fields["kind"].default)


def _part_tag(given: Any) -> str | None:
    if isinstance(given, dict):
        return "choice" if "choice" in given else given.get("kind")
    return "choice" if isinstance(given, Choice) else getattr(given, "kind", None)


def _field_type(part: type[Part], name: str) -> Any:
    info = part.model_fields[name]
    kind: Any = info.annotation
    for constraint in info.metadata:
        kind = Annotated[kind, constraint]
    return kind


def _number_type(annotation: Any) -> type[int] | type[float] | None:
    if get_origin(annotation) is tuple:  # a list of numbers is no number
        return None
    kinds = {annotation, *get_args(annotation)}
    kinds |= {inner for kind in kinds for inner in get_args(kind)}
    if int in kinds:
        return int
    return float if float in kinds else None


@cache
def _adapter(part: type[Part], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_field_type(part, name))


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


def is_nested(domain: Any) -> bool:
    """Whether a field holds a part, or a choice among parts."""
    if isinstance(domain, Choice):
        return isinstance(domain.choice[0], Twin)
    return isinstance(domain, Twin)


def draw_order(twin: Twin) -> tuple[str, ...]:
    """Number fields in an order in which each comes after those that it follows from.

    Raises ValueError naming the fields that follow from each other in a circle.
    """
    waiting = [
        name
        for name in type(twin).model_fields
        if name != "kind" and not is_nested(getattr(twin, name))
    ]
    ready: list[str] = []
    while waiting:
        free = [
            name
            for name in waiting
            if all(other not in waiting for other in references(getattr(twin, name)))
        ]
        if not free:
            raise ValueError(f"{', '.join(waiting)} follow from each other in a circle")
        plain = [name for name in free if not references(getattr(twin, name))]
        ready.extend(plain or free)
        waiting = [name for name in waiting if name not in ready]
    return tuple(ready)


# Drawing -----------------------------------------------------------------------------------------


def draw_part(domain: Any, draw: Draw, path: str, at: Place) -> Part:
    """One part from a twin or a choice among twins. Raises Infeasible where nothing fits."""
    if isinstance(domain, Choice):
        twin, path = choose_among(domain, draw, path, at)
    else:
        twin = domain
    chosen = _draw_numbers(twin, draw, path, at)
    for name in type(twin).model_fields:
        if is_nested(getattr(twin, name)):
            chosen[name] = draw_part(getattr(twin, name), draw, f"{path}.{name}", at)
    return twin.part.model_validate({**chosen, "kind": twin.kind})


def choose_among(domain: Choice[Any], draw: Draw, path: str, at: Place) -> tuple[Any, str]:
    """One option of a choice among parts, and the path under which its own axes stand."""
    labels = option_labels(domain)
    possible = [label for label, option in labels.items() if feasible(option, at)]
    if not possible:
        raise Infeasible(f"{path}: none of {', '.join(labels)} fits a width of {at.dim}")
    label = str(ask(draw, path, tuple(possible), len(labels)))
    return labels[label], f"{path}.{label}"


def option_labels(domain: Choice[Any]) -> dict[str, Any]:
    """Options by their kind, numbered where a kind comes more than once."""
    kinds = [option.kind for option in domain.choice]
    return {
        kind if kinds.count(kind) == 1 else f"{kind}-{index + 1}": option
        for index, (kind, option) in enumerate(zip(kinds, domain.choice, strict=True))
    }


def ask(draw: Draw, axis: str, options: tuple[Scalar, ...], of: int) -> Scalar:
    """One of the options. A list shortened by a rule is an axis of its own, since a sampler cannot
    learn an axis whose options change; a single option is no question."""
    if len(options) == 1:
        return options[0]
    if len(options) < of:
        listed = ",".join(str(option) for option in options)
        if len(listed) > LONGEST_LIST:
            digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
            listed = f"{len(options)} options, {digest}"
        axis = f"{axis}[{listed}]"
    return draw.choice(axis, options)


def feasible(domain: Any, at: Place) -> bool:
    """Whether at least one valid part can be drawn at a width and depth."""
    if isinstance(domain, Choice):
        return any(feasible(option, at) for option in domain.choice)
    if not isinstance(domain, Twin):
        return bool(domain.feasible(at))  # a pattern
    nested = (getattr(domain, name) for name in type(domain).model_fields)
    return _completes(domain, {}, _related(domain), at) and all(
        feasible(inner, at) for inner in nested if is_nested(inner)
    )


def decisive(domain: Any) -> frozenset[str]:
    """Which numbers of the surroundings decide whether something can be drawn."""
    if isinstance(domain, Choice):
        return frozenset().union(*(decisive(option) for option in domain.choice))
    if isinstance(domain, Twin):
        fields = [getattr(domain, name) for name in type(domain).model_fields]
        named = {name for field in fields for name in references(field)}
        inner = [decisive(field) for field in fields if is_nested(field)]
        return frozenset(CONTEXT_NUMBERS) & named.union(*inner)
    found: frozenset[str] = domain.decisive()  # a pattern
    return found


def misfit(domain: Any, at: Place, path: str) -> tuple[str, str]:
    """(path, reason) of the first thing that keeps an infeasible slot from being filled."""
    if isinstance(domain, Choice):
        return misfit(domain.choice[0], at, f"{path}.choice.0")
    if not isinstance(domain, Twin):
        found: tuple[str, str] = domain.misfit(at, path)  # a pattern
        return found
    for name in type(domain).model_fields:
        inner = getattr(domain, name)
        if is_nested(inner) and not feasible(inner, at):
            return misfit(inner, at, f"{path}.{name}")
        if isinstance(inner, Divide) and not _completes(domain, {}, _needed(domain, name), at):
            return f"{path}.{name}", f"{inner.divide} / {inner.by} gives no accepted value"
        if isinstance(inner, Times) and not _completes(domain, {}, _needed(domain, name), at):
            return f"{path}.{name}", f"{inner.times} x {inner.of} gives no accepted value"
    return path, "; ".join(rule.says for rule in domain.part.rules) + " cannot be kept"


def _needed(twin: Twin, name: str) -> tuple[str, ...]:
    """A field after all those that it follows from."""
    needed = {name}
    for other in reversed(draw_order(twin)):
        if other in needed:
            needed |= set(references(getattr(twin, other)))
    return tuple(field for field in draw_order(twin) if field in needed)


def _draw_numbers(twin: Twin, draw: Draw, path: str, at: Place) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    related = _related(twin)
    for name in draw_order(twin):
        domain, axis = getattr(twin, name), f"{path}.{name}"
        if name not in related:
            chosen[name] = _draw_freely(domain, draw, axis)
            continue
        rest = tuple(other for other in related if other not in chosen and other != name)
        everything = list(_candidates(twin, name, chosen, at))
        fitting = {
            label: value
            for label, value in everything
            if _completes(twin, {**chosen, name: value}, rest, at)
        }
        if not fitting:
            raise Infeasible(f"{axis}: no value fits {chosen} at a width of {at.dim}")
        if isinstance(domain, Times):
            axis = f"{axis}.times"
        chosen[name] = fitting[ask(draw, axis, tuple(fitting), _size(domain))]
    return chosen


def _draw_freely(domain: Any, draw: Draw, axis: str) -> Any:
    if isinstance(domain, Range):
        low, high = domain.range
        if isinstance(low, int):
            return draw.integer(axis, low, int(high), domain.step or 1, domain.log)
        return draw.real(axis, low, high, domain.log)
    options = {_label(value): value for value in values(domain)}
    return options[ask(draw, axis, tuple(options), len(options))]


def _related(twin: Twin) -> tuple[str, ...]:
    """Fields that depend on others, or on which others depend, in drawing order."""
    names = {name for rule in twin.part.rules for name in rule.fields}
    for name in type(twin).model_fields:
        following = references(getattr(twin, name))
        names |= {name, *following} if following else set()
    return tuple(name for name in draw_order(twin) if name in names)


def _candidates(
    twin: Twin, name: str, chosen: Mapping[str, Any], at: Place
) -> Iterator[tuple[Scalar, Any]]:
    """(answer, value) pairs of a field that its own type accepts."""
    domain = getattr(twin, name)
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
    return ((_label(a), value) for a, value in pairs if _accepts(twin.part, name, value))


def _accepts(part: type[Part], name: str, value: Any) -> bool:
    try:
        _adapter(part, name).validate_python(value)
    except ValueError:
        return False
    return True


def _completes(twin: Twin, chosen: Mapping[str, Any], rest: tuple[str, ...], at: Place) -> bool:
    """Whether the fields in `rest` have values with which every rule holds."""
    for rule in twin.part.rules:
        known = all(name in chosen for name in rule.fields)
        if known and not rule.holds(*(chosen[name] for name in rule.fields)):
            return False
    if not rest:
        return True
    name, *others = rest
    return any(
        _completes(twin, {**chosen, name: value}, tuple(others), at)
        for _, value in _candidates(twin, name, chosen, at)
    )


def _size(domain: Any) -> int:
    if isinstance(domain, Times):
        return len(list(values(domain.times)))
    return 1 if isinstance(domain, Divide) else len(list(values(domain)))


def _label(value: Any) -> Scalar:
    """What an option is called in a record; lists are written as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)
