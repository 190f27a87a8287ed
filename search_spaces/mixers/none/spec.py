"""A layer without a mixer."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, NOTHING, Mixer, Place, Source
from nas.search_spaces.ops import Ops


class NoMixer(Mixer):
    """No mixer: the layer is its FFN alone, and the norm of the mixer is gone with it."""

    papers = (
        Source(
            "What Matters in Transformers? Not All Attention is Needed",
            "https://arxiv.org/abs/2406.15786",
            "the redundancy score that chooses the layers; here the search does",
        ),
    )
    example = {"kind": "none"}
    families = FAMILIES
    absent: ClassVar[bool] = True

    kind: Literal["none"] = "none"

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return NOTHING
