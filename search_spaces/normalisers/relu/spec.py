"""Positive scores, divided by the number of visible keys."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class Relu(Normaliser):
    """max(score, 0) / visible keys: sparse, and without a sum over keys."""

    papers = (
        Source(
            "Theory, Analysis, and Best Practices for Sigmoid Self-Attention",
            "https://arxiv.org/abs/2409.04431",
            left_out="the fused kernel",
        ),
        Source(
            "Replacing softmax with ReLU in Vision Transformers", "https://arxiv.org/abs/2309.08586"
        ),
        Source(
            "What can a Single Attention Layer Learn? A Study Through the Random Features Lens",
            "https://arxiv.org/abs/2307.11353",
        ),
    )
    example = {"kind": "relu"}

    kind: Literal["relu"] = "relu"

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call("nas.search_spaces.normalisers.relu.module:ReluWeights")
