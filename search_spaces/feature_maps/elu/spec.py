"""elu(x) + 1 of every channel."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Elu(FeatureMap):
    """elu(x) + 1: x + 1 above zero, exp(x) below."""

    papers = (
        Source(
            "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
            "https://arxiv.org/abs/2006.16236",
        ),
    )
    example = {"kind": "elu"}

    kind: Literal["elu"] = "elu"

    def features(self, head_dim: int) -> int:
        return head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call("nas.search_spaces.feature_maps.elu.module:EluFeatures")
