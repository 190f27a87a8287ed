"""Small texts and models that the tests of this folder share."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.search_spaces.architecture import Architecture

MakeArchitecture = Callable[..., Architecture]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """A few sentences over and over in random order, so that there is something to learn."""
    generator = random.Random(0)
    words = ["the cat", "a dog", "saw", "heard", "one bird", "and then", "slept.\n"]
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(generator.choices(words, k=4000)))
    return path


@pytest.fixture
def architecture() -> MakeArchitecture:
    """Makes a model of attention, or of any other mixer, and SwiGLU."""

    def make(
        mixer: dict[str, Any] | None = None, *, dim: int = 32, depth: int = 2, vocab: int = 256
    ) -> Architecture:
        attention = {"kind": "attention", "heads": 2, "groups": 2, "head_dim": dim // 2}
        layer = {
            "mixer": mixer or attention,
            "ffn": {"kind": "swiglu", "hidden": 2 * dim},
            "block": {"kind": "sequential"},
        }
        return Architecture.model_validate({"vocab": vocab, "dim": dim, "layers": [layer] * depth})

    return make
