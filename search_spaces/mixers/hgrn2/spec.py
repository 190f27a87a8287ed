"""HGRN2: the gated recurrence of HGRN with a matrix for a state."""

from typing import Literal

from nas.kernels.linear_attention.cost import (
    LINEAR_CHANNEL_CHUNK,
    forward_flops_per_token,
    step_flops,
)
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.mixers.hgrn.spec import Bound, forget_gate, forget_gate_plan
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.gate.spec import silu_gate, silu_gate_plan, ungated_plan

LOWEST_GATE = 1e-4
"""The kernel in chunks takes a gate per channel whose logarithm is at least -10."""


class HGRN2(Mixer):
    """Gated linear attention whose keys are one minus the forget gates, so that it needs no keys of
    its own. The published size is heads x head_dim = dim with head_dim 128."""

    papers = (
        Source(
            "HGRN2: Gated Linear RNNs with State Expansion",
            "https://arxiv.org/abs/2404.07904",
            "lower bounds tied between layers by a softmax",
        ),
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
        ),
    )
    example = {"kind": "hgrn2", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "hgrn2",
            "heads": 2,
            "head_dim": 8,
            "value_factor": 2,
            "bound": "learned",
            "output_gate": True,
        },
        {"kind": "hgrn2", "heads": 1, "head_dim": 16, "bound": "none"},
    )

    kind: Literal["hgrn2"] = "hgrn2"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head: by how much the state is expanded."""
    value_factor: ValueFactor = 1
    bound: Bound = "layer"
    """Lowest value of the forget gates: the layer's share of the depth, learned, or none."""
    output_gate: Flag = False
    """A further SiLU gate after the norm; the queries are the paper's output gate."""

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        gate = silu_gate("output_gate", "norm", at.dim, value) if self.output_gate else ()
        return (
            linear("query", "x", at.dim, key),
            *forget_gate(at, key, self.bound),
            linear("value", "x", at.dim, value),
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=value),
            *gate,
            linear("out", "output_gate" if self.output_gate else "norm", value, at.dim),
        )

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        forward = forward_flops_per_token(context, self.head_dim, self.value_dim, per_channel=True)
        return Op(
            "recurrence",
            ("query", "forget", "value"),
            (value,),
            "recurrence",
            expects=((key,), (key,), (value,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the scores of all pairs and the state before it
            scratch=self.heads * LINEAR_CHANNEL_CHUNK
            + key * self.value_dim // LINEAR_CHANNEL_CHUNK,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.heads * self.head_dim * self.value_dim)

    def plan(self, at: Place) -> Call:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        gate = silu_gate_plan(at.dim, value) if self.output_gate else ungated_plan()
        return Call(
            "nas.search_spaces.mixers.hgrn2.module:HGRN2",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "forget": forget_gate_plan(at, key, self.bound, LOWEST_GATE),
                "output_gate": gate,
            },
        )
