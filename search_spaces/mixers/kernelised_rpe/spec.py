"""Linear attention with a learned weight for each distance."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Flag, Memory, Mixer, Place, Rule, Source
from nas.search_spaces.feature_maps.favor.spec import Favor
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.mixers.linear.spec import features_op, length_plan
from nas.search_spaces.ops import Op, Ops, linear

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyFeatureMap


class KernelisedRelative(Mixer):
    """Kernelised attention whose weights also depend on the distance; a whole sequence takes
    T log T, decoding keeps all keys."""

    papers = (
        Source(
            "Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding",
            "https://arxiv.org/abs/2106.12566",
            "softmax attention with the same bias, its point of comparison",
        ),
    )
    example = {
        "kind": "kernelised_rpe",
        "heads": 2,
        "head_dim": 16,
        "max_tokens": 128,
        "feature_map": {"kind": "favor", "random_features": 8},
    }
    variants = (
        {
            "kind": "kernelised_rpe",
            "heads": 4,
            "head_dim": 4,
            "value_factor": 2,
            "max_tokens": 96,
            "feature_map": {"kind": "elu"},
            "unit_norm": False,
        },
    )
    rules = (
        Rule(
            ("feature_map",),
            lambda feature_map: feature_map.positive,
            "feature_map must be one whose weights cannot be negative",
        ),
    )
    families = FAMILIES

    kind: Literal["kernelised_rpe"] = "kernelised_rpe"
    heads: Count
    head_dim: HeadDim
    value_factor: ValueFactor = 1
    max_tokens: Count
    """Distances that have a weight; a longer input is an error."""
    feature_map: "AnyFeatureMap" = Favor(random_features=32)
    unit_norm: Flag = True
    """Whether queries and keys are scaled to one length, which bounds the variance of random
    features."""

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return (
            linear("query", "x", at.dim, key),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, value),
            features_op(self.feature_map, self.heads, self.head_dim),
            self._attend(at, context),
            linear("out", "attend", value, at.dim),
        )

    def _attend(self, at: Place, context: int) -> Op:
        features, value = self.feature_map.features(self.head_dim), self.value_dim
        distances = self.max_tokens if at.causal else 2 * self.max_tokens - 1
        return Op(
            "attend",
            ("features", "value"),
            (self.heads * value,),
            "attention",
            expects=((2 * self.heads * features,), (self.heads * value,)),
            params=self.heads * distances,
            flops=2 * self.heads * features * (value + 1),  # reading; transforms are not counted
            decode_flops=2 * self.heads * context * (features + value),
            # the products of features and values, and their transforms, of twice the length
            scratch=5 * self.heads * features * (value + 1),
        )

    def memory(self, at: Place) -> Memory:
        features = self.feature_map.features(self.head_dim)
        return Memory(cache_per_token=self.heads * (features + self.value_dim))

    def plan(self, at: Place) -> Call:
        name = "KernelisedRelative" if at.causal else "TwoWayKernelisedRelative"
        return Call(
            f"nas.search_spaces.mixers.kernelised_rpe.module:{name}",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "value_dim": self.value_dim,
                "max_tokens": self.max_tokens,
                "length": length_plan(self.unit_norm),
                "feature_map": self.feature_map.map_plan(self.heads, self.head_dim),
            },
        )
