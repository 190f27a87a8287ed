"""Mamba: a selective state space in a fused, gated block."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.selective_scan.cost import scratch_values_per_token, selective_scan_flops
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source, only_with
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.gate.spec import silu_gate, silu_gate_plan, ungated_plan
from nas.search_spaces.pieces.short_conv.spec import ConvWidth, short_conv

Expand = Annotated[int, Field(strict=True, ge=1, le=8)]
"""Inner channels for each channel of the model."""

_MODULE = "nas.search_spaces.mixers.mamba.module"


class Mamba(Mixer):
    """Each of expand x dim channels drives a few states that fade at a rate which depends on the
    token. The paper's block takes the place of mixer and FFN: give it the FFN `none`."""

    papers = (
        Source(
            "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
            "https://arxiv.org/abs/2312.00752",
            "complex and random rates",
        ),
    )
    example = {"kind": "mamba", "states": 8}
    variants = (
        {"kind": "mamba", "expand": 1, "conv": 3, "step_rank": 2, "conv_bias": False, "bias": True},
        {
            "kind": "mamba",
            "states": 4,
            "select_step": False,
            "select_write": False,
            "select_read": False,
        },
        {"kind": "mamba", "states": 1, "select_read": False, "gate": False},
    )
    conditions = (only_with("step_rank", "select_step", True),)

    kind: Literal["mamba"] = "mamba"
    states: Count = 16
    """States of each channel."""
    expand: Expand = 2
    conv: ConvWidth = 4
    step_rank: Count | None = None
    """Width through which step sizes are computed; None is dim / 16, rounded up."""
    select_step: Flag = True
    """Whether the step size depends on the token."""
    select_write: Flag = True
    """Whether what enters the states (B) depends on the token."""
    select_read: Flag = True
    """Whether how states are read (C) depends on the token."""
    gate: Flag = True
    """The SiLU gate of the fused block; without, it is a mixer that wants an FFN after it."""
    conv_bias: Flag = True
    bias: Flag = False
    """Of the projections into and out of the block."""

    def channels(self, at: Place) -> int:
        """Inner channels."""
        return self.expand * at.dim

    def rank(self, at: Place) -> int:
        """Width through which step sizes are computed."""
        return -(-at.dim // 16) if self.step_rank is None else self.step_rank

    def ops(self, at: Place, context: int) -> Ops:
        inner = self.channels(at)
        gate = silu_gate("gate", "skip", at.dim, inner, bias=self.bias) if self.gate else ()
        return (
            linear("enter", "x", at.dim, inner, bias=self.bias),
            short_conv("conv", "enter", inner, self.conv, bias=self.conv_bias),
            elementwise("silu", ("conv",), inner),
            *self._step(at),
            self._vector("write", inner, self.select_write),
            self._vector("read", inner, self.select_read),
            self._scan(inner, context),
            elementwise("skip", ("scan", "silu"), inner, params=inner),
            *gate,
            linear("out", "gate" if self.gate else "skip", inner, at.dim, bias=self.bias),
        )

    def _step(self, at: Place) -> Ops:
        inner = self.channels(at)
        if not self.select_step:
            return (elementwise("step", ("silu",), inner, params=inner),)
        return (
            linear("step_down", "silu", inner, self.rank(at)),
            linear("step", "step_down", self.rank(at), inner, bias=True),
        )

    def _vector(self, name: str, inner: int, selective: bool) -> Op:
        if selective:
            return linear(name, "silu", inner, self.states)
        return Op(name, ("silu",), (self.states,), params=self.states * inner)

    def _scan(self, inner: int, context: int) -> Op:
        return Op(
            "scan",
            ("silu", "step", "write", "read"),
            (inner,),
            "recurrence",
            expects=((inner,), (inner,), (self.states,), (self.states,)),
            params=self.states * inner,
            flops=selective_scan_flops(self.states, inner, shared_read=self.select_read),
            scratch=scratch_values_per_token(context, self.states, inner),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.channels(at) * (self.states + self.conv - 1))

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:Mamba",
            {
                "dim": at.dim,
                "channels": self.channels(at),
                "states": self.states,
                "conv": self.conv,
                "conv_bias": self.conv_bias,
                "bias": self.bias,
                "step": self._step_plan(at),
                "write": self._vector_plan(at, self.select_write),
                "read": self._vector_plan(at, self.select_read),
                "output_gate": self._gate_plan(at),
            },
        )

    def _step_plan(self, at: Place) -> Call:
        inner = self.channels(at)
        if not self.select_step:
            return Call(f"{_MODULE}:FixedStep", {"channels": inner})
        return Call(f"{_MODULE}:SelectiveStep", {"channels": inner, "rank": self.rank(at)})

    def _vector_plan(self, at: Place, selective: bool) -> Call:
        name = "SelectiveVector" if selective else "FixedVectors"
        numbers = {"channels": self.channels(at), "states": self.states}
        return Call(f"{_MODULE}:{name}", numbers)

    def _gate_plan(self, at: Place) -> Call:
        if not self.gate:
            return ungated_plan()
        return silu_gate_plan(at.dim, self.channels(at), bias=self.bias)
