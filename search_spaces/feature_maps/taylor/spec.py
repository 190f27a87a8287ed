"""The second-order Taylor series of exp(q.k)."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Taylor(FeatureMap):
    """1 + s + s^2 / 2 with s = q.k / sqrt(K): near exp(s) for small s, and never below 1/2."""

    papers = (
        Source(
            "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax Mimicry",
            "https://arxiv.org/abs/2402.04347",
        ),
        Source(
            "Simple linear attention language models balance the recall-throughput tradeoff",
            "https://arxiv.org/abs/2402.18668",
        ),
    )
    example = {"kind": "taylor"}

    kind: Literal["taylor"] = "taylor"

    def features(self, head_dim: int) -> int:
        return 1 + head_dim + head_dim * (head_dim + 1) // 2

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call(
            "nas.search_spaces.feature_maps.taylor.module:TaylorFeatures", {"head_dim": head_dim}
        )
