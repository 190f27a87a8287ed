"""Learned binary codes of queries and keys (EcoFormer)."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, FeatureMap, Source


class BinaryHash(FeatureMap):
    """Codes of +1 and -1 from a learned kernel hash; the weight counts the bits that agree."""

    papers = (
        Source(
            "EcoFormer: Energy-Saving Attention with Linear Complexity",
            "https://arxiv.org/abs/2209.09004",
            "fitting the hash to similar and dissimilar pairs at intervals: it is trained through "
            "the codes with the rest",
        ),
    )
    example = {"kind": "binary_hash"}
    variants = ({"kind": "binary_hash", "bits": 8, "anchors": 6},)

    kind: Literal["binary_hash"] = "binary_hash"
    bits: Count = 16
    """Bits of a code; the paper compares 8, 16 and 32."""
    anchors: Count = 20
    """Learned points; a code is made of the similarities to them."""

    def features(self, head_dim: int) -> int:
        return self.bits + 1

    def params(self, heads: int, head_dim: int) -> int:
        return heads * (self.anchors * head_dim + self.bits * (self.anchors + 1))

    def flops(self, heads: int, head_dim: int) -> int:
        return 4 * heads * self.anchors * (head_dim + self.bits)

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call(
            "nas.search_spaces.feature_maps.binary_hash.module:BinaryHashFeatures",
            {
                "heads": heads,
                "head_dim": head_dim,
                "bits": self.bits,
                "anchors": self.anchors,
            },
        )
