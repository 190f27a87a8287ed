"""Sigmoid of a linear map of the layer's input, as a factor on some tensor of an attention."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Flag, Gate, Place, Rule, Source
from nas.search_spaces.ops import Ops, linear


class SigmoidGate(Gate):
    """sigmoid(W x), a number for each head or each channel, multiplies what is named by ``at``."""

    papers = (
        Source(
            "Gated Attention for Large Language Models: Non-linearity, Sparsity, and "
            "Attention-Sink-Free",
            "https://arxiv.org/abs/2505.06708",
            left_out="the additive form",
        ),
        Source(
            "Quantizable Transformers: Removing Outliers by Helping Attention Heads Do Nothing",
            "https://arxiv.org/abs/2306.12929",
            left_out="gates that see only a head's own slice of the input, linear or as an MLP",
        ),
    )
    example = {"kind": "sigmoid"}
    variants = (
        {"kind": "sigmoid", "grain": "elementwise"},
        {"kind": "sigmoid", "grain": "elementwise", "shared": True},
        {"kind": "sigmoid", "shared": True, "bias": 1.0},
        {"kind": "sigmoid", "at": "query"},
        {"kind": "sigmoid", "at": "key", "grain": "elementwise"},
        {"kind": "sigmoid", "at": "value", "bias": -1.0},
        {"kind": "sigmoid", "at": "out", "grain": "elementwise"},
        {"kind": "sigmoid", "at": "out", "bias": 0.0},
    )
    rules = (
        Rule(
            ("at", "shared"),
            lambda at, shared: not (at == "out" and shared),
            "shared gates stand where there are heads: at = heads, query, key or value",
        ),
    )

    kind: Literal["sigmoid"] = "sigmoid"
    grain: Literal["headwise", "elementwise"] = "headwise"
    """One factor for a whole head, or one for each of its channels."""
    at: Literal["heads", "query", "key", "value", "out"] = "heads"
    """What is gated: the heads' outputs; queries, keys or values before positions are applied; or
    the output of the layer, which counts as one head."""
    shared: Flag = False
    """Whether all heads have the same factors."""
    bias: Annotated[float, Field(ge=-10.0, le=10.0)] | None = None
    """Where a learned bias starts: a positive one starts open. None is without."""

    def gates(self, what: str) -> bool:
        return self.at == what

    def gate_ops(self, at: Place, name: str, heads: int, width: int) -> Ops:
        factors = self._heads(heads) * self._width(width)
        return (linear(name, "x", at.dim, factors, bias=self.bias is not None),)

    def gate_plan(self, at: Place, heads: int, width: int) -> Call:
        return Call(
            "nas.search_spaces.gates.sigmoid.module:SigmoidFactors",
            {
                "dim": at.dim,
                "heads": self._heads(heads),
                "width": self._width(width),
                "bias": self.bias,
            },
        )

    def _heads(self, heads: int) -> int:
        return 1 if self.shared else heads

    def _width(self, width: int) -> int:
        return 1 if self.grain == "headwise" else width
