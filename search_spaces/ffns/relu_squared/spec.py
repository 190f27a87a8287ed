"""Two-layer FFN with squared ReLU."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, DenseFFN, Flag, Place, Source
from nas.search_spaces.ops import Ops, elementwise, linear


class SquaredReLU(DenseFFN):
    """down(relu(up(x))²)."""

    papers = (
        Source(
            "Primer: Searching for Efficient Transformers for Language Modeling",
            "https://arxiv.org/abs/2109.08668",
        ),
    )
    example = {"kind": "relu_squared", "hidden": 128}
    variants = ({"kind": "relu_squared", "hidden": 48, "bias": True},)

    kind: Literal["relu_squared"] = "relu_squared"
    hidden: Count
    bias: Flag = False

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("up", "x", at.dim, self.hidden, bias=self.bias),
            elementwise("relu_squared", ("up",), self.hidden),
            linear("down", "relu_squared", self.hidden, at.dim, bias=self.bias),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.ffns.relu_squared.module:SquaredReLU",
            {"dim": at.dim, "hidden": self.hidden, "bias": self.bias},
        )
