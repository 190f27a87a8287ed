"""Queries and keys as they are."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Identity(FeatureMap):
    """No features: weights may be negative, so nothing divides by their sum."""

    papers = (
        Source(
            "EcoFormer: Energy-Saving Attention with Linear Complexity",
            "https://arxiv.org/abs/2209.09004",
        ),
    )
    example = {"kind": "identity"}
    positive: ClassVar[bool] = False

    kind: Literal["identity"] = "identity"

    def features(self, head_dim: int) -> int:
        return head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call("nas.search_spaces.feature_maps.identity.module:PlainFeatures")
