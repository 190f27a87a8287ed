"""Everything that a part, a twin, a pattern or a choice is made of, with its path."""

from collections.abc import Iterator
from typing import Any

from nas.search_spaces.base import Model


def walk(held: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every model inside `held`, itself first, in the order of their fields."""
    if isinstance(held, tuple):
        for index, item in enumerate(held):
            yield from walk(item, _join(path, str(index)))
    elif isinstance(held, Model):
        yield path, held
        for name in type(held).model_fields:
            yield from walk(getattr(held, name), _join(path, name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
