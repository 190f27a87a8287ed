"""Gated short convolution: the cheapest mixer that still depends on what it reads."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.mamba.spec import Expand
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.pieces.short_conv.spec import ConvWidth, short_conv


class GatedShortConv(Mixer):
    """A convolution over a few tokens with a gate before it and one after it. It reaches no further
    than conv tokens per layer, so it is used together with a few layers of attention."""

    papers = (
        Source(
            "AutoNeural: Co-Designing Vision-Language Models for NPU Inference",
            "https://arxiv.org/abs/2512.02924",
            "the convolutional vision encoder, its connector and integer inference",
        ),
        Source("LFM2 Technical Report", "https://arxiv.org/abs/2511.23404"),
    )
    example = {"kind": "gated_short_conv"}
    variants = (
        {"kind": "gated_short_conv", "conv": 5, "expand": 2, "conv_bias": True, "bias": True},
    )

    kind: Literal["gated_short_conv"] = "gated_short_conv"
    conv: ConvWidth = 3
    expand: Expand = 1
    conv_bias: Flag = False
    bias: Flag = False
    """Of the projections into and out of the layer."""

    def ops(self, at: Place, context: int) -> Ops:
        inner = self.expand * at.dim
        return (
            linear("enter", "x", at.dim, 3 * inner, bias=self.bias),
            Op("gate_before", ("enter",), (inner,), expects=((3 * inner,),)),
            short_conv("conv", "gate_before", inner, self.conv, bias=self.conv_bias),
            Op("gate_after", ("conv", "enter"), (inner,), expects=((inner,), (3 * inner,))),
            linear("out", "gate_after", inner, at.dim, bias=self.bias),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.expand * at.dim * (self.conv - 1))

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.gated_short_conv.module:GatedShortConv",
            {
                "dim": at.dim,
                "channels": self.expand * at.dim,
                "conv": self.conv,
                "conv_bias": self.conv_bias,
                "bias": self.bias,
            },
        )
