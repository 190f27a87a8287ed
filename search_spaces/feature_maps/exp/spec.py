"""The exponential of every channel."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Exp(FeatureMap):
    """exp(t x): the higher the temperature t, the spikier the weights."""

    papers = (
        Source(
            "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax Mimicry",
            "https://arxiv.org/abs/2402.04347",
        ),
    )
    example = {"kind": "exp"}
    variants = ({"kind": "exp", "temperature": 2.0},)

    kind: Literal["exp"] = "exp"
    temperature: Annotated[float, Field(gt=0.0, le=8.0)] = 1.0
    """Multiplies queries and keys; the paper compares 1 and 2."""

    def features(self, head_dim: int) -> int:
        return head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        return Call(
            "nas.search_spaces.feature_maps.exp.module:ExpFeatures",
            {"temperature": self.temperature},
        )
