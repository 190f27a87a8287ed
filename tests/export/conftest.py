"""Small architectures to export."""

from collections.abc import Callable
from typing import Any

import pytest

from nas.search_spaces.architecture import Architecture

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
LAYER = {
    "mixer": ATTENTION,
    "ffn": {"kind": "swiglu", "hidden": 96},
    "block": {"kind": "sequential"},
}


@pytest.fixture(scope="session")
def small() -> Callable[..., Architecture]:
    """A function that makes an architecture of width 64: one layer for each change that is given,
    two plain ones where none is."""

    def make(*changes: dict[str, Any], **fields: Any) -> Architecture:
        layers = [LAYER | change for change in changes or ({}, {})]
        return Architecture.model_validate({"vocab": 32, "dim": 64, "layers": layers} | fields)

    return make
