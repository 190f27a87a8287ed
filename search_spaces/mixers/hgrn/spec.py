"""HGRN: a gated linear recurrence whose forget gates have a lower bound that rises by layer."""

from typing import Literal, TypeAlias

from nas.plan import Call
from nas.search_spaces.base import Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.mamba.spec import Expand
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.gate.spec import silu_gate, silu_gate_plan, ungated_plan

Bound: TypeAlias = Literal["layer", "learned", "none"]
"""Lowest value of the forget gates: the layer's number divided by the depth; learned for each
channel, starting from that; zero. The first layer has none."""


class HGRN(Mixer):
    """Each channel is an average of what it has read, forgetting by a gate; deeper layers cannot
    forget as fast. The state is a vector, the smallest of the recurrent mixers."""

    papers = (
        Source(
            "Hierarchically Gated Recurrent Neural Network for Sequence Modeling",
            "https://arxiv.org/abs/2311.04823",
            "complex states with a learned phase; lower bounds tied between layers by a softmax",
        ),
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
        ),
    )
    example = {"kind": "hgrn"}
    variants = (
        {"kind": "hgrn", "bound": "learned", "expand": 2},
        {"kind": "hgrn", "bound": "none", "output_gate": False},
    )

    kind: Literal["hgrn"] = "hgrn"
    expand: Expand = 1
    bound: Bound = "layer"
    """Lowest value of the forget gates: the layer's share of the depth, learned, or none."""
    output_gate: Flag = True

    def ops(self, at: Place, context: int) -> Ops:
        inner = self.expand * at.dim
        gate = silu_gate("output_gate", "norm", at.dim, inner) if self.output_gate else ()
        return (
            *forget_gate(at, inner, self.bound),
            linear("enter", "x", at.dim, inner),
            self._recurrence(inner),
            elementwise("norm", ("recurrence",), inner, params=inner),
            *gate,
            linear("out", "output_gate" if self.output_gate else "norm", inner, at.dim),
        )

    def _recurrence(self, inner: int) -> Op:
        reads = ("forget", "enter")
        expects = ((inner,), (inner,))
        # what runs inside chunks, and the products of the gates
        return Op("recurrence", reads, (inner,), "recurrence", expects=expects, scratch=2 * inner)

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.expand * at.dim)

    def plan(self, at: Place) -> Call:
        inner = self.expand * at.dim
        gate = silu_gate_plan(at.dim, inner) if self.output_gate else ungated_plan()
        return Call(
            "nas.search_spaces.mixers.hgrn.module:HGRN",
            {
                "dim": at.dim,
                "channels": inner,
                "forget": forget_gate_plan(at, inner, self.bound),
                "output_gate": gate,
            },
        )


def forget_gate(at: Place, channels: int, bound: Bound) -> Ops:
    """The gates, called ``forget``."""
    learned = channels if _is_learned(at, bound) else 0
    return (
        linear("forget_projection", "x", at.dim, channels),
        elementwise("forget", ("forget_projection",), channels, params=learned),
    )


def forget_gate_plan(at: Place, channels: int, bound: Bound, floor: float = 0.0) -> Call:
    """How the gates are built; they are never below `floor`."""
    module = "nas.search_spaces.mixers.hgrn.module"
    lowest = at.layer / at.depth
    numbers = {"dim": at.dim, "channels": channels}
    if _is_learned(at, bound):
        return Call(f"{module}:LearnedForgetGate", {**numbers, "lowest": lowest, "floor": floor})
    fixed = max(floor, lowest) if bound == "layer" else floor
    return Call(f"{module}:ForgetGate", {**numbers, "lowest": fixed})


def _is_learned(at: Place, bound: Bound) -> bool:
    return bound == "learned" and at.layer > 0
