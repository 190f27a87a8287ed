"""The positive part of every channel."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Relu(FeatureMap):
    """max(x, 0): weights may be exactly zero."""

    papers = (
        Source(
            "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax Mimicry",
            "https://arxiv.org/abs/2402.04347",
        ),
    )
    example = {"kind": "relu"}

    kind: Literal["relu"] = "relu"

    def features(self, head_dim: int) -> int:
        return head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call("nas.search_spaces.feature_maps.relu.module:ReluFeatures")
