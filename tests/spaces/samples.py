"""Small spaces and models that the tests of this folder share."""

from typing import Any

ATTENTION: dict[str, Any] = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
SWIGLU: dict[str, Any] = {"kind": "swiglu", "hidden": 96}
SPACE: dict[str, Any] = {"dim": 64, "depth": 4, "mixer": ATTENTION, "ffn": SWIGLU}


def space(**changed: Any) -> dict[str, Any]:
    """A space of one model, with some fields changed."""
    return {**SPACE, **changed}


def attention(**changed: Any) -> dict[str, Any]:
    """The mixer of that space, with some fields changed."""
    return {**ATTENTION, **changed}
