"""Static expansion: a sequence gathered into a fixed number of vectors and handed back."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, linear


class StaticExpansion(Mixer):
    """The tokens are distributed over learned vectors, more or fewer than there are tokens, and
    gathered back along the same scores."""

    papers = (
        Source(
            "Heterogeneous Encoders Scaling In The Transformer For Neural Machine Translation",
            "https://arxiv.org/abs/2312.15872",
            "the convolutional encoder's gated linear units; the synergy by which pairs are chosen",
        ),
        Source(
            "Exploiting Multiple Sequence Lengths in Fast End to End Training for Image Captioning",
            "https://arxiv.org/abs/2208.06551",
            "groups of different sizes, and the dynamic expansion of the decoder",
        ),
    )
    example = {"kind": "static_expansion", "vectors": 24}
    variants = ({"kind": "static_expansion", "vectors": 8, "groups": 3},)
    families = ("encoder",)
    family_reason = "the learned vectors gather the whole sequence, later tokens included"

    kind: Literal["static_expansion"] = "static_expansion"
    vectors: Count
    """Learned vectors of one group."""
    groups: Count = 1
    """Groups of vectors; what they hand back is averaged."""

    def ops(self, at: Place, context: int) -> Ops:
        dim, count = at.dim, self.vectors * self.groups
        return (
            linear("key", "x", dim, dim, bias=True),
            linear("positive", "x", dim, dim, bias=True),
            linear("negative", "x", dim, dim, bias=True),
            Op(
                "scores",
                ("key",),
                (count,),
                "linear",
                expects=((dim,),),
                params=count * dim,
                flops=2 * count * dim,
            ),
            Op(
                "expansion",
                ("scores", "positive", "negative"),
                (2, dim),
                "expansion",
                expects=((count,), (dim,), (dim,)),
                params=count * dim,
                flops=8 * count * dim,  # there and back, along positive and negative scores
                scratch=2 * count,  # scores of one sign, and the same normalised
            ),
            linear("selector", "x", dim, dim, bias=True),
            Op("select", ("expansion", "selector"), (dim,), expects=((2, dim), (dim,))),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.static_expansion.module:StaticExpansion",
            {"dim": at.dim, "groups": self.groups, "vectors": self.vectors},
        )
