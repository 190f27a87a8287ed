"""What may stand where: parts that see later tokens, or need them, and how long inputs may be."""

from collections.abc import Iterator
from typing import Any

from nas.search_spaces.base import Model, Part
from nas.search_spaces.twin import Twin
from nas.search_spaces.walk import walk


def illegal(held: Any, family: str, path: str) -> str | None:
    """Says which part inside `held` may not be used in a model family, and why; None if all may."""
    for where, part, inside in _parts(held, family, path):
        kind = part.model_fields["kind"].default
        if inside not in part.families:
            return (
                f"{where}: {kind!r} is not legal in family {inside}: {part.family_reason}; "
                f"accepted: {kind!r} in family {', '.join(part.families)}"
            )
    return None


def longest_input(held: Any) -> tuple[int, str] | None:
    """(tokens, path) of the tightest bound on the input's length; None is without bound."""
    bounds = []
    for path, inner in walk(held):
        if "max_tokens" not in type(inner).model_fields:
            continue
        bound = inner.max_tokens
        options = getattr(bound, "choice", (bound,))
        bounds += [(tokens, path) for tokens in options if isinstance(tokens, int)]
    return min(bounds, default=None)


def _parts(held: Any, family: str, path: str) -> Iterator[tuple[str, type[Part], str]]:
    """(path, class, family in force) of every part: some parts run others in another family."""
    if isinstance(held, tuple):
        for index, item in enumerate(held):
            yield from _parts(item, family, f"{path}.{index}")
        return
    if not isinstance(held, Model):
        return
    part = held.part if isinstance(held, Twin) else type(held)
    inside = family
    if isinstance(part, type) and issubclass(part, Part):
        yield path, part, family
        inside = part.family_inside or family
    for name in type(held).model_fields:
        yield from _parts(getattr(held, name), inside, f"{path}.{name}")
