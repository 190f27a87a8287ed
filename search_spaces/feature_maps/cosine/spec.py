"""relu features weighted by the cosine of the distance (cosFormer)."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, FeatureMap, Source


class Cosine(FeatureMap):
    """cosFormer: the positive part, and a weight cos(pi/2 (i - j) / M) that falls with distance."""

    papers = (
        Source(
            "Neural Architecture Search on Efficient Transformers and Beyond",
            "https://arxiv.org/abs/2207.13955",
            "the predictor-based search itself, which is a sampler's work",
        ),
        Source(
            "cosFormer: Rethinking Softmax in Attention",
            "https://arxiv.org/abs/2202.08791",
        ),
    )
    example = {"kind": "cosine", "max_tokens": 128}

    kind: Literal["cosine"] = "cosine"
    max_tokens: Count
    """M: tokens at which the weight of the distance reaches zero. A longer input is an error."""

    def features(self, head_dim: int) -> int:
        return 2 * head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call(
            "nas.search_spaces.feature_maps.cosine.module:CosineFeatures",
            {"max_tokens": self.max_tokens},
        )
