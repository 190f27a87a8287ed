"""Gated FFN with SiLU."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, DenseFFN, Flag, Place, Source
from nas.search_spaces.ops import Ops, elementwise, linear


class SwiGLU(DenseFFN):
    """down(silu(gate(x)) * up(x)); three matrices, so `hidden` is usually 8/3 of the width."""

    papers = (Source("GLU Variants Improve Transformer", "https://arxiv.org/abs/2002.05202"),)
    example = {"kind": "swiglu", "hidden": 96}
    variants = ({"kind": "swiglu", "hidden": 40, "bias": True},)

    kind: Literal["swiglu"] = "swiglu"
    hidden: Count
    bias: Flag = False

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("gate", "x", at.dim, self.hidden, bias=self.bias),
            linear("up", "x", at.dim, self.hidden, bias=self.bias),
            elementwise("silu_mul", ("gate", "up"), self.hidden),
            linear("down", "silu_mul", self.hidden, at.dim, bias=self.bias),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.ffns.swiglu.module:SwiGLU",
            {"dim": at.dim, "hidden": self.hidden, "bias": self.bias},
        )
