"""Whole models against those of the package transformers, where it is installed.

Weights are copied both ways and logits compared. The peer computes norms, rotary angles and
recurrences in float32 even where its weights are float64.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("transformers")

from nas.plan import execute
from nas.search_spaces.space import SearchSpace
from tests.peers.links import copy_to_ours, copy_to_theirs
from tests.peers.small_models import SMALL_MODELS, VOCAB, SmallModel

EXACT = ("bert", "gpt2")
"""Models that the peer computes in float64 throughout."""


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_logits_are_the_same(name: str, time: int) -> None:
    small = SMALL_MODELS[name]()
    ours, theirs = pair(small)
    tokens = torch.randint(VOCAB, (2, time))
    tolerance = 1e-12 if name in EXACT else 1e-5

    copy_to_ours(small.links, theirs, ours)
    first = same_logits(ours, theirs, tokens, tolerance)

    redraw(ours)
    copy_to_theirs(small.links, ours, theirs)
    second = same_logits(ours, theirs, tokens, tolerance)
    assert (first - second).abs().max() > 0.1  # the second time, they were other weights


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_as_many_parameters(name: str) -> None:
    ours, theirs = pair(SMALL_MODELS[name]())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def pair(small: SmallModel) -> tuple[Any, Any]:
    """Our model and the peer's, in float64, with weights that are all drawn at random."""
    torch.manual_seed(0)
    ours = execute(SearchSpace.model_validate(small.space).example().plan()).double()
    theirs = small.build().double()
    redraw(theirs)
    return ours, theirs


def redraw(model: nn.Module) -> None:
    """Moves weights away from where they start, norms and biases included."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)


def same_logits(ours: Any, theirs: Any, tokens: Tensor, tolerance: float) -> Tensor:
    """Compares, relative to the largest logit, and returns them."""
    with torch.no_grad():
        actual, expected = ours(tokens), theirs(tokens).logits
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < tolerance, f"relative error {error:.1e}"
    return actual
