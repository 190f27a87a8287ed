"""Gated linear attention: a matrix state in which every key channel fades by its own gate."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.linear_attention.cost import (
    LINEAR_CHANNEL_CHUNK,
    forward_flops_per_token,
    step_flops,
)
from nas.plan import Call
from nas.search_spaces.base import Count, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.ops import Op, Ops, elementwise, linear

ValueFactor = Annotated[int, Field(strict=True, ge=1, le=8)]
"""Value channels for each key channel."""


class GatedLinear(Mixer):
    """Linear attention whose state forgets by a learned gate for each key channel. The paper's
    size is heads x head_dim = dim / 2 with a value factor of 2."""

    papers = (
        Source(
            "Gated Linear Attention Transformers with Hardware-Efficient Training",
            "https://arxiv.org/abs/2312.06635",
        ),
    )
    example = {"kind": "gated_linear", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "gated_linear",
            "heads": 2,
            "head_dim": 16,
            "value_factor": 2,
            "gate_rank": 4,
            "temperature": 8.0,
        },
    )

    kind: Literal["gated_linear"] = "gated_linear"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    gate_rank: Count = 16
    """Width through which the forget gates are computed."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0)] = 16.0
    """Divides the logarithm of the gates; the higher, the longer the memory."""

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return (
            linear("query", "x", at.dim, key),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, value),
            linear("forget_down", "x", at.dim, self.gate_rank),
            linear("forget_up", "forget_down", self.gate_rank, key, bias=True),
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=self.value_dim),
            linear("gate", "x", at.dim, value),
            elementwise("silu_mul", ("gate", "norm"), value),
            linear("out", "silu_mul", value, at.dim),
        )

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        forward = forward_flops_per_token(context, self.head_dim, self.value_dim, per_channel=True)
        return Op(
            "recurrence",
            ("query", "key", "value", "forget_up"),
            (value,),
            "recurrence",
            expects=((key,), (key,), (value,), (key,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the scores of all pairs and the state before it
            scratch=self.heads * LINEAR_CHANNEL_CHUNK
            + key * self.value_dim // LINEAR_CHANNEL_CHUNK,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.heads * self.head_dim * self.value_dim)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.gated_linear.module:GatedLinear",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "gate_rank": self.gate_rank,
                "temperature": self.temperature,
            },
        )
