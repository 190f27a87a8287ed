"""Two-layer FFN with GELU."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, DenseFFN, Flag, Place, Source
from nas.search_spaces.ops import Ops, elementwise, linear


class GELU(DenseFFN):
    """down(gelu(up(x)))."""

    papers = (Source("Gaussian Error Linear Units (GELUs)", "https://arxiv.org/abs/1606.08415"),)
    example = {"kind": "gelu", "hidden": 128}
    variants = ({"kind": "gelu", "hidden": 48, "bias": True, "approximate": "tanh"},)

    kind: Literal["gelu"] = "gelu"
    hidden: Count
    bias: Flag = False
    approximate: Literal["none", "tanh"] = "none"
    """How GELU is computed: with erf, or with the tanh that GPT-2 was trained with."""

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("up", "x", at.dim, self.hidden, bias=self.bias),
            elementwise("gelu", ("up",), self.hidden),
            linear("down", "gelu", self.hidden, at.dim, bias=self.bias),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.ffns.gelu.module:GELU",
            {
                "dim": at.dim,
                "hidden": self.hidden,
                "bias": self.bias,
                "approximate": self.approximate,
            },
        )
