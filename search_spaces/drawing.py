"""How one part is drawn from its twin: which questions are asked, and with which options."""

import hashlib
from collections.abc import Callable
from typing import Any

from nas.errors import Infeasible
from nas.search_spaces.axes import Draw, Scalar
from nas.search_spaces.base import Part, Place, rule_value
from nas.search_spaces.domains import Choice, Divide, Range, Times, values
from nas.search_spaces.twin import (
    CONTEXT_NUMBERS,
    Twin,
    candidates,
    completes,
    draw_order,
    idle_condition,
    is_nested,
    label_of,
    references,
    related_fields,
)

LONGEST_LIST = 80
"""Characters of options that the name of an axis may spell out."""


Fits = Callable[[Any], bool]
"""Whether an option of a choice among parts goes together with what was chosen before."""


def draw_part(domain: Any, draw: Draw, path: str, at: Place, fits: Fits | None = None) -> Part:
    """One part from a twin or a choice among twins. Raises Infeasible where nothing fits."""
    if isinstance(domain, Choice):
        twin, path = choose_among(domain, draw, path, at, fits)
    else:
        twin = domain
    chosen = _draw_numbers(twin, draw, path, at)
    for name in type(twin).model_fields:
        if is_nested(getattr(twin, name)):
            chosen[name] = _draw_nested(twin, name, chosen, draw, f"{path}.{name}", at)
    return twin.part.model_validate({**chosen, "kind": twin.kind})


def _draw_nested(
    twin: Twin, name: str, chosen: dict[str, Any], draw: Draw, path: str, at: Place
) -> Any:
    domain = getattr(twin, name)
    if isinstance(domain, tuple):
        return tuple(draw_part(d, draw, f"{path}.{i}", at) for i, d in enumerate(domain))
    related = related_fields(twin)
    if name not in related:
        return draw_part(domain, draw, path, at)
    seen = {field: rule_value(value) for field, value in chosen.items()}
    rest = tuple(other for other in related if other not in chosen and other != name)

    def fits(option: Any) -> bool:
        return completes(twin, {**seen, name: option.part}, rest, at)

    return draw_part(domain, draw, path, at, fits)


def choose_among(
    domain: Choice[Any], draw: Draw, path: str, at: Place, fits: Fits | None = None
) -> tuple[Any, str]:
    """One option of a choice among parts, and the path under which its own axes stand."""
    labels = option_labels(domain)
    possible = [
        label
        for label, option in labels.items()
        if feasible(option, at) and (fits is None or fits(option))
    ]
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
    if not isinstance(domain, Choice | Twin):
        return _can_draw(domain, at)
    key = ("feasible", *deciding(domain, at))
    if key not in domain.memory:
        domain.memory[key] = _can_draw(domain, at)
    known: bool = domain.memory[key]
    return known


def _can_draw(domain: Any, at: Place) -> bool:
    if isinstance(domain, Choice):
        return any(feasible(option, at) for option in domain.choice)
    if isinstance(domain, tuple):
        return all(feasible(inner, at) for inner in domain)
    if not isinstance(domain, Twin):
        return bool(domain.feasible(at))  # a pattern
    nested = (getattr(domain, name) for name in type(domain).model_fields)
    return completes(domain, {}, related_fields(domain), at) and all(
        feasible(inner, at) for inner in nested if is_nested(inner)
    )


def deciding(domain: Choice[Any] | Twin, at: Place) -> tuple[int, int]:
    """The width and the depth, each 0 where it decides nothing about what can be drawn."""
    if "decisive" not in domain.memory:
        domain.memory["decisive"] = decisive(domain)
    numbers = domain.memory["decisive"]
    return at.dim if "dim" in numbers else 0, at.depth if "depth" in numbers else 0


def decisive(domain: Any) -> frozenset[str]:
    """Which numbers of the surroundings decide whether something can be drawn."""
    if isinstance(domain, Choice):
        return frozenset().union(*(decisive(option) for option in domain.choice))
    if isinstance(domain, tuple):
        return frozenset().union(*(decisive(inner) for inner in domain))
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
    if isinstance(domain, tuple):
        index = next(i for i, inner in enumerate(domain) if not feasible(inner, at))
        return misfit(domain[index], at, f"{path}.{index}")
    if not isinstance(domain, Twin):
        found: tuple[str, str] = domain.misfit(at, path)  # a pattern
        return found
    for name in type(domain).model_fields:
        inner = getattr(domain, name)
        if is_nested(inner) and not feasible(inner, at):
            return misfit(inner, at, f"{path}.{name}")
        if isinstance(inner, Divide) and not completes(domain, {}, _needed(domain, name), at):
            return f"{path}.{name}", f"{inner.divide} / {inner.by} gives no accepted value"
        if isinstance(inner, Times) and not completes(domain, {}, _needed(domain, name), at):
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
    related = related_fields(twin)
    for name in draw_order(twin):
        domain, axis = getattr(twin, name), f"{path}.{name}"
        if idle := idle_condition(twin.part, name, chosen):
            chosen[name] = idle.elsewhere(twin.part)
            continue
        if name not in related:
            chosen[name] = _draw_freely(domain, draw, axis)
            continue
        rest = tuple(other for other in related if other not in chosen and other != name)
        everything = list(candidates(twin, name, chosen, at))
        fitting = {
            label: value
            for label, value in everything
            if completes(twin, {**chosen, name: value}, rest, at)
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
    options = {label_of(value): value for value in values(domain)}
    return options[ask(draw, axis, tuple(options), len(options))]


def _size(domain: Any) -> int:
    if isinstance(domain, Times):
        return len(list(values(domain.times)))
    return 1 if isinstance(domain, Divide) else len(list(values(domain)))
