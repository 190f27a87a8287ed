"""A learned map for each head, spiky and monotone in q.k (Hedgehog)."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FeatureMap, Source


class Hedgehog(FeatureMap):
    """[exp(Wx + b), exp(-Wx - b)] with W and b of each head, apart for queries and keys."""

    papers = (
        Source(
            "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax Mimicry",
            "https://arxiv.org/abs/2402.04347",
            "fitting the maps to the weights of a trained softmax model: they are trained with the "
            "rest, from scratch",
        ),
    )
    example = {"kind": "hedgehog"}
    variants = ({"kind": "hedgehog", "form": "exp"},)

    kind: Literal["hedgehog"] = "hedgehog"
    form: Literal["softmax", "exp"] = "softmax"
    """softmax divides each half by its sum, which bounds the features; exp leaves them."""

    def features(self, head_dim: int) -> int:
        return 2 * head_dim

    def params(self, heads: int, head_dim: int) -> int:
        return 2 * heads * (head_dim * head_dim + head_dim)

    def flops(self, heads: int, head_dim: int) -> int:
        return 4 * heads * head_dim * head_dim

    def map_plan(self, heads: int, head_dim: int) -> Call:
        name = "HedgehogSoftmax" if self.form == "softmax" else "HedgehogExp"
        return Call(
            f"nas.search_spaces.feature_maps.hedgehog.module:{name}",
            {"heads": heads, "head_dim": head_dim},
        )
