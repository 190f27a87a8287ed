"""Gated FFN with GELU."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, DenseFFN, Flag, Place, Source
from nas.search_spaces.ops import Ops, elementwise, linear


class GEGLU(DenseFFN):
    """down(gelu(gate(x)) * up(x)); three matrices, so `hidden` is usually 8/3 of the width."""

    papers = (
        Source("GLU Variants Improve Transformer", "https://arxiv.org/abs/2002.05202"),
        Source(
            "Gemma 2: Improving Open Language Models at a Practical Size",
            "https://arxiv.org/abs/2408.00118",
            "the cap on the logits of the head",
        ),
    )
    example = {"kind": "geglu", "hidden": 96}
    variants = ({"kind": "geglu", "hidden": 40, "bias": True, "approximate": "tanh"},)

    kind: Literal["geglu"] = "geglu"
    hidden: Count
    bias: Flag = False
    approximate: Literal["none", "tanh"] = "none"
    """How GELU is computed: with erf, or with the tanh that Gemma was trained with."""

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("gate", "x", at.dim, self.hidden, bias=self.bias),
            linear("up", "x", at.dim, self.hidden, bias=self.bias),
            elementwise("gelu_mul", ("gate", "up"), self.hidden),
            linear("down", "gelu_mul", self.hidden, at.dim, bias=self.bias),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.ffns.geglu.module:GEGLU",
            {
                "dim": at.dim,
                "hidden": self.hidden,
                "bias": self.bias,
                "approximate": self.approximate,
            },
        )
