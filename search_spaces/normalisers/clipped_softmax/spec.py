"""Clipped softmax over the visible keys."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class ClippedSoftmax(Normaliser):
    """Softmax stretched a little beyond [0, 1] and clipped, so that weights of exactly zero and one
    are within reach."""

    papers = (
        Source(
            "Quantizable Transformers: Removing Outliers by Helping Attention Heads Do Nothing",
            "https://arxiv.org/abs/2306.12929",
        ),
    )
    example = {"kind": "clipped_softmax"}
    variants = ({"kind": "clipped_softmax", "alpha": 0.5, "zeta": 1.01},)

    kind: Literal["clipped_softmax"] = "clipped_softmax"
    alpha: Annotated[float, Field(ge=0.0, le=16.0)] = 1.0
    """The lower end of the stretch is -alpha / visible keys. Above about one, a row of equal
    weights is all zeros, and has no gradient."""
    zeta: Annotated[float, Field(ge=1.0, le=2.0)] = 1.0
    """The upper end of the stretch."""

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call(
            "nas.search_spaces.normalisers.clipped_softmax.module:ClippedSoftmax",
            {"alpha": self.alpha, "zeta": self.zeta},
        )
