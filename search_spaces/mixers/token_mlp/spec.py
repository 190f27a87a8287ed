"""Spatial gating: a learned matrix over the positions in place of attention."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.mixers.token_mlp.module"


class TokenMlp(Mixer):
    """An MLP over the positions of a fixed length: half of the hidden units are multiplied by what
    a matrix over the tokens makes of the other half."""

    papers = (
        Source(
            "Pay Attention to MLPs",
            "https://arxiv.org/abs/2105.08050",
            "the tiny attention beside the gate; Toeplitz weights",
        ),
    )
    example = {"kind": "token_mlp", "hidden": 48, "max_tokens": 96}
    families = FAMILIES

    kind: Literal["token_mlp"] = "token_mlp"
    hidden: Count
    """Channels of each half."""
    max_tokens: Count
    """Longest input: there is a weight for each pair of positions."""

    def ops(self, at: Place, context: int) -> Ops:
        hidden = self.hidden
        return (
            linear("widen", "x", at.dim, 2 * hidden, bias=True),
            Op("kept", ("widen",), (hidden,), "slice", expects=((2 * hidden,),)),
            Op("norm", ("widen",), (hidden,), expects=((2 * hidden,),), params=hidden),
            Op(
                "tokens",
                ("norm",),
                (hidden,),
                "token_matrix",
                expects=((hidden,),),
                params=self.max_tokens * (self.max_tokens + 1),
                flops=2 * context * hidden,
            ),
            elementwise("gated", ("kept", "tokens"), hidden),
            linear("out", "gated", hidden, at.dim, bias=True),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(cache_per_token=self.hidden)

    def plan(self, at: Place) -> Call:
        name = "TokensSoFar" if at.causal else "TokensBothWays"
        return Call(
            f"{_MODULE}:TokenMLP",
            {
                "dim": at.dim,
                "hidden": self.hidden,
                "max_tokens": self.max_tokens,
                "tokens": Call(f"{_MODULE}:{name}", {"max_tokens": self.max_tokens}),
            },
        )
