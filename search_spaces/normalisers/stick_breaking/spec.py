"""Weights that are broken off a stick, nearest key first."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class StickBreaking(Normaliser):
    """Each key, the nearest first, takes its share sigmoid(score) of what is left: order is part of
    the weights, and positions are not needed."""

    papers = (
        Source(
            "ModuleFormer: Learning Modular Large Language Models From Uncurated Data",
            "https://arxiv.org/abs/2306.04640",
        ),
    )
    example = {"kind": "stick_breaking"}
    families = ("causal_lm",)
    family_reason = "the nearest key comes first, which has a meaning only from right to left"

    copies: ClassVar[int] = 4  # the scores, their negatives, and logarithms of shares in the making

    kind: Literal["stick_breaking"] = "stick_breaking"

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call("nas.search_spaces.normalisers.stick_breaking.module:StickBreaking")
