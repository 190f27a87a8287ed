"""Named spaces: each module here has a function of its own name that returns a space as data."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from nas.errors import NotFound


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__")


def preset(name: str) -> dict[str, Any]:
    """The space of a preset as plain data, to print, edit and post. Raises NotFound."""
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise NotFound(
            f"no preset is called {name!r}; {hint}there are: {', '.join(preset_names())}"
        )
    module = import_module(f"nas.search_spaces.spaces.{name}")
    space: dict[str, Any] = getattr(module, name)()
    return space


def expand_preset(space: Any) -> Any:
    """``{"preset": name, field: ...}`` with the preset's fields filled in, and ``keep`` with what
    it keeps (``frozen.py``); anything else as it is.

    A field that is given replaces the preset's whole field.
    """
    from nas.search_spaces.frozen import expand_keep

    return expand_keep(_with_preset(space), space if isinstance(space, Mapping) else {})


def _with_preset(space: Any) -> Any:
    if not isinstance(space, Mapping) or "preset" not in space:
        return space
    name = space["preset"]
    if not isinstance(name, str) or name not in preset_names():
        raise ValueError(
            f"preset: no preset is called {name!r}; there are: {', '.join(preset_names())}"
        )
    return {**preset(name), **{key: value for key, value in space.items() if key != "preset"}}
