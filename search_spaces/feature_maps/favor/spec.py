"""Positive random features of the softmax kernel (Performer)."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, FeatureMap, Source


class Favor(FeatureMap):
    """FAVOR+: exp(w.x - |x|^2 / 2) for random orthogonal w; on average, the weights of softmax."""

    papers = (
        Source(
            "Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding",
            "https://arxiv.org/abs/2106.12566",
        ),
        Source(
            "Rethinking Attention with Performers",
            "https://arxiv.org/abs/2009.14794",
            "drawing the features anew while training",
        ),
    )
    example = {"kind": "favor", "random_features": 24}

    kind: Literal["favor"] = "favor"
    random_features: Count
    """Random directions, shared by the heads. More of them come closer to softmax."""

    def features(self, head_dim: int) -> int:
        return self.random_features

    def flops(self, heads: int, head_dim: int) -> int:
        return 4 * heads * head_dim * self.random_features

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call(
            "nas.search_spaces.feature_maps.favor.module:RandomFeatures",
            {"head_dim": head_dim, "random_features": self.random_features},
        )
