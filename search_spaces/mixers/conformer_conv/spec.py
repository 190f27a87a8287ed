"""Conformer's convolution module as a mixer."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.dilated_conv.spec import TapCount, conv_op, conv_plan
from nas.search_spaces.ops import Op, Ops, elementwise, linear


class ConformerConv(Mixer):
    """A gated projection, a depthwise convolution and a second projection: what stands beside
    attention in a Conformer. It sees no further than the convolution."""

    papers = (
        Source(
            "Conformer: Convolution-augmented Transformer for Speech Recognition",
            "https://arxiv.org/abs/2005.08100",
            "batch norm (RMS norm instead) and dropout; the order of attention and convolution "
            "belongs to the composite mixers",
        ),
    )
    example = {"kind": "conformer_conv", "width": 7}
    variants = ({"kind": "conformer_conv", "width": 16},)
    families = FAMILIES

    kind: Literal["conformer_conv"] = "conformer_conv"
    width: TapCount
    """Tokens that the convolution sees; the paper's best is 32, centred."""

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("widen", "x", at.dim, 2 * at.dim, bias=True),
            Op("glu", ("widen",), (at.dim,), expects=((2 * at.dim,),)),
            conv_op("conv", "glu", at.dim, at.dim, self.width, at.dim),
            elementwise("norm", ("conv",), at.dim, params=at.dim),
            elementwise("silu", ("norm",), at.dim),
            linear("out", "silu", at.dim, at.dim, bias=True),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=(self.width - 1) * at.dim)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.conformer_conv.module:ConformerConv",
            {"dim": at.dim, "conv": conv_plan(at, at.dim, at.dim, self.width, groups=at.dim)},
        )
