"""Sigmoid of each score, without a sum over keys."""

import math
from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Normaliser, Place, Source, only_with

_MODULE = "nas.search_spaces.normalisers.sigmoid.module"


class Sigmoid(Normaliser):
    """sigmoid(score + bias): each key is weighed by itself. A bias of minus the logarithm of the
    number of keys keeps the output as small as that of softmax at first."""

    papers = (
        Source(
            "Theory, Analysis, and Best Practices for Sigmoid Self-Attention",
            "https://arxiv.org/abs/2409.04431",
            left_out="the fused kernel",
        ),
    )
    example = {"kind": "sigmoid"}
    variants = (
        {"kind": "sigmoid", "bias": "fixed", "tokens": 64},
        {"kind": "sigmoid", "bias": "learned", "tokens": 64},
        {"kind": "sigmoid", "bias": "none"},
    )
    conditions = (only_with("tokens", "bias", "fixed", "learned"),)

    kind: Literal["sigmoid"] = "sigmoid"
    bias: Literal["visible", "fixed", "learned", "none"] = "visible"
    """-log of the keys that a query sees; -log `tokens`; a learned number that starts there; 0."""
    tokens: Count = 1024
    """Keys for which a fixed bias is right, and at which a learned one starts."""

    def params(self, at: Place, heads: int) -> int:
        return 1 if self.bias == "learned" else 0

    def weights_plan(self, at: Place, heads: int) -> Call:
        if self.bias == "visible":
            return Call(f"{_MODULE}:SigmoidByCount")
        if self.bias == "learned":
            return Call(f"{_MODULE}:SigmoidLearned", {"bias": -math.log(self.tokens)})
        bias = -math.log(self.tokens) if self.bias == "fixed" else 0.0
        return Call(f"{_MODULE}:SigmoidWeights", {"bias": bias})
