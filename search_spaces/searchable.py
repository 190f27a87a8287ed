"""The searchable twin of a part is derived from the part, never written a second time.

A twin has the fields of its part, each of which may also be a domain (``domains.py``).
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Discriminator, Field, Tag, create_model

from nas.search_spaces.base import Part
from nas.search_spaces.catalogue import NESTED_LISTS, NESTED_SLOTS
from nas.search_spaces.domains import Choice, domain_of
from nas.search_spaces.twin import Twin, field_type


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
            one: Any = part_domain(nested)
            kind, default = one, info.default
            if (part.__name__, name) in NESTED_LISTS:
                kind = Annotated[tuple[one, ...], *info.metadata]
            elif not info.is_required() and info.default is not None:
                own: type[Part] = type(default)
                default = searchable(own).model_validate(default.model_dump())
        else:
            number = _number_type(info.annotation)
            kind, default = domain_of(field_type(part, name), number), info.default
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
    choice: Any = Annotated[Choice.__class_getitem__(_union(options)), Tag("choice")]
    forms: Any = Union[(choice, *(Annotated[form, Tag(kind)] for kind, form in tagged.items()))]
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
    # all at once, since one by one takes time in the square of their number
    tagged = tuple(Annotated[option, Tag(_kind_of(option))] for option in options)
    forms: Any = Union[tagged]  # noqa: UP007
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


def _number_type(annotation: Any) -> type[int] | type[float] | None:
    if get_origin(annotation) is tuple:  # a list of numbers is no number
        return None
    kinds = {annotation, *get_args(annotation)}
    kinds |= {inner for kind in kinds for inner in get_args(kind)}
    if int in kinds:
        return int
    return float if float in kinds else None
