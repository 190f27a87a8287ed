"""Gated linear attention: a matrix state in which every key channel fades by its own gate."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nas.kernels.linear_attention.cost import (
    LINEAR_CHANNEL_CHUNK,
    LINEAR_CHUNK,
    forward_flops_per_token,
    step_flops,
)
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source, only_with
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.gate.spec import silu_gate, silu_gate_plan, ungated_plan
from nas.search_spaces.pieces.short_conv.spec import ConvWidth, short_conv

ValueFactor = Annotated[int, Field(strict=True, ge=1, le=8)]
"""Value channels for each key channel."""

_MODULE = "nas.search_spaces.mixers.gated_linear.module"


class GatedLinear(Mixer):
    """Linear attention whose state forgets by a learned gate for each key channel. The paper's
    size is heads x head_dim = dim / 2 with a value factor of 2."""

    papers = (
        Source(
            "Gated Linear Attention Transformers with Hardware-Efficient Training",
            "https://arxiv.org/abs/2312.06635",
            "the second level of chunking, which changes speed and not values",
        ),
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
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
        {"kind": "gated_linear", "heads": 2, "head_dim": 8, "gate": "scalar", "conv": 4},
        {
            "kind": "gated_linear",
            "heads": 1,
            "head_dim": 16,
            "gate": "none",
            "output_gate": False,
        },
    )
    conditions = (
        only_with("gate_rank", "gate", "per_channel"),
        only_with("temperature", "gate", "per_channel", "scalar"),
    )

    kind: Literal["gated_linear"] = "gated_linear"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    gate_rank: Count = 16
    """Width through which the gates of key channels are computed."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0)] = 16.0
    """Divides the logarithm of the gates; the higher, the longer the memory."""
    gate: Literal["per_channel", "scalar", "none"] = "per_channel"
    """One forget gate for each key channel, or for each head, or a state that does not fade."""
    conv: ConvWidth | None = None
    """Tokens that a convolution on queries, keys and values sees, with SiLU; None is without."""
    output_gate: Flag = True

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    @property
    def channels(self) -> int:
        """Queries, keys and values of all heads."""
        return self.heads * (2 * self.head_dim + self.value_dim)

    def ops(self, at: Place, context: int) -> Ops:
        value = self.heads * self.value_dim
        gate = silu_gate("output_gate", "norm", at.dim, value) if self.output_gate else ()
        return (
            linear("qkv", "x", at.dim, self.channels),
            *self._local(),
            *self._fade(at),
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=self.value_dim),
            *gate,
            linear("out", "output_gate" if self.output_gate else "norm", value, at.dim),
        )

    def _local(self) -> Ops:
        if self.conv is None:
            return ()
        conv = short_conv("conv", "qkv", self.channels, self.conv)
        return (conv, elementwise("silu", ("conv",), self.channels))

    def _fade(self, at: Place) -> Ops:
        if self.gate == "none":
            return ()
        if self.gate == "scalar":
            return (linear("fade", "x", at.dim, self.heads, bias=True),)
        key = self.heads * self.head_dim
        return (
            linear("fade_down", "x", at.dim, self.gate_rank),
            linear("fade", "fade_down", self.gate_rank, key, bias=True),
        )

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        channels = self.gate == "per_channel"
        chunk = LINEAR_CHANNEL_CHUNK if channels else LINEAR_CHUNK
        fade = {"per_channel": ((key,),), "scalar": ((self.heads,),), "none": ()}[self.gate]
        forward = forward_flops_per_token(
            context, self.head_dim, self.value_dim, per_channel=channels
        )
        return Op(
            "recurrence",
            ("qkv" if self.conv is None else "silu", *("fade" for _ in fade)),
            (value,),
            "recurrence",
            expects=((self.channels,), *fade),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the scores of all pairs and the state before it
            scratch=self.heads * chunk + key * self.value_dim // chunk,
        )

    def memory(self, at: Place) -> Memory:
        latest = 0 if self.conv is None else self.channels * (self.conv - 1)
        return Memory(state=self.heads * self.head_dim * self.value_dim + latest)

    def plan(self, at: Place) -> Call:
        value = self.heads * self.value_dim
        return Call(
            f"{_MODULE}:GatedLinear",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "local": self._local_plan(),
                "fade": self._fade_plan(at),
                "output_gate": silu_gate_plan(at.dim, value)
                if self.output_gate
                else ungated_plan(),
            },
        )

    def _local_plan(self) -> Call:
        if self.conv is None:
            return Call(f"{_MODULE}:NoLocalMix")
        return Call(f"{_MODULE}:LocalMix", {"channels": self.channels, "width": self.conv})

    def _fade_plan(self, at: Place) -> Call:
        if self.gate == "none":
            return Call(f"{_MODULE}:NoFade")
        numbers: dict[str, Any] = {"dim": at.dim, "heads": self.heads}
        if self.gate == "per_channel":
            numbers |= {"key_dim": self.head_dim, "rank": self.gate_rank}
        name = "HeadFade" if self.gate == "scalar" else "ChannelFade"
        return Call(f"{_MODULE}:{name}", {**numbers, "temperature": self.temperature})
