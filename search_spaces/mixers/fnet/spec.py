"""Fourier mixing: a fixed transform in place of attention."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops


class FNet(Mixer):
    """The real part of the Fourier transform over sequence and width, without parameters. Every
    token sees every other with weights that depend on the positions alone."""

    papers = (
        Source("FNet: Mixing Tokens with Fourier Transforms", "https://arxiv.org/abs/2105.03824"),
        Source(
            "Heterogeneous Encoders Scaling In The Transformer For Neural Machine Translation",
            "https://arxiv.org/abs/2312.15872",
            "the convolutional encoder's gated linear units; the synergy by which pairs are chosen",
        ),
    )
    example = {"kind": "fnet"}
    families = ("encoder",)
    family_reason = "each frequency is a sum over the whole sequence, later tokens included"

    kind: Literal["fnet"] = "fnet"

    def ops(self, at: Place, context: int) -> Ops:
        return (Op("fourier", ("x",), (at.dim,), "transform", expects=((at.dim,),)),)

    def plan(self, at: Place) -> Call:
        return Call("nas.search_spaces.mixers.fnet.module:FourierMixing")
