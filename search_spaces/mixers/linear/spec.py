"""Linear attention: weights that are products of features, summed up without decay."""

from typing import TYPE_CHECKING, Literal

from nas.kernels.linear_attention.cost import LINEAR_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Count,
    FeatureMap,
    Flag,
    Memory,
    Mixer,
    Place,
    Rule,
    Source,
)
from nas.search_spaces.feature_maps.elu.spec import Elu
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.positions.rotary.spec import Rotary

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyFeatureMap, AnyPosition

_MODULE = "nas.search_spaces.mixers.linear.module"

POSITIVE_IF_DIVIDED = Rule(
    ("feature_map", "normaliser"),
    lambda feature_map, normaliser: feature_map.positive or normaliser != "denominator",
    "the normaliser 'denominator' needs a feature map whose weights cannot be negative",
)


class LinearAttention(Mixer):
    """Attention whose weight is a product of features of query and key: one matrix holds all keys
    and values, whatever the length."""

    papers = (
        Source(
            "The Devil in Linear Transformer",
            "https://arxiv.org/abs/2210.10340",
            "DiagAttention, which is softmax attention over blocks in the early layers",
        ),
        Source(
            "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
            "https://arxiv.org/abs/2006.16236",
        ),
    )
    example = {"kind": "linear", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "linear",
            "heads": 2,
            "head_dim": 8,
            "value_factor": 2,
            "feature_map": {"kind": "hedgehog"},
            "normaliser": "output_norm",
            "position": {"kind": "none"},
            "unit_norm": True,
        },
        {
            "kind": "linear",
            "heads": 1,
            "head_dim": 16,
            "feature_map": {"kind": "identity"},
            "normaliser": "none",
        },
    )
    rules = (POSITIVE_IF_DIVIDED,)
    families = FAMILIES

    kind: Literal["linear"] = "linear"
    heads: Count
    head_dim: HeadDim
    """Channels of a query or key of one head, from which the features are made."""
    value_factor: ValueFactor = 1
    feature_map: "AnyFeatureMap" = Elu()
    normaliser: Literal["denominator", "output_norm", "none"] = "denominator"
    """Divide by the sum of the weights, or give each head's output a root mean square of one."""
    position: "AnyPosition" = Rotary()
    """Applied to queries and keys before the features are made."""
    unit_norm: Flag = False
    """Whether queries and keys are scaled to one length before the features are made."""

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    @property
    def state_width(self) -> int:
        """Columns of the state: the values, and the sum of the weights where it is needed."""
        return self.value_dim + (self.normaliser == "denominator")

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return (
            linear("query", "x", at.dim, key),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, value),
            features_op(self.feature_map, self.heads, self.head_dim),
            self._recurrence(at, context),
            *self._norm(),
            linear("out", "norm" if self._norm() else "recurrence", value, at.dim),
        )

    def _recurrence(self, at: Place, context: int) -> Op:
        features, width = self.feature_map.features(self.head_dim), self.state_width
        forward, scratch = 4 * features * width, 0
        if at.causal:
            forward = forward_flops_per_token(context, features, width)
            # of each chunk, the scores of all pairs and the state before it
            scratch = self.heads * (LINEAR_CHUNK + features * width // LINEAR_CHUNK)
        return Op(
            "recurrence",
            ("features", "value"),
            (self.heads * self.value_dim,),
            "recurrence",
            expects=((2 * self.heads * features,), (self.heads * self.value_dim,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(features, width),
            scratch=scratch,
        )

    def _norm(self) -> Ops:
        if self.normaliser != "output_norm":
            return ()
        width = self.heads * self.value_dim
        return (elementwise("norm", ("recurrence",), width, params=self.value_dim),)

    def memory(self, at: Place) -> Memory:
        features = self.feature_map.features(self.head_dim)
        return Memory(state=self.heads * features * self.state_width)

    def plan(self, at: Place) -> Call:
        name = "LinearAttention" if at.causal else "TwoWayLinearAttention"
        return Call(
            f"{_MODULE}:{name}",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "value_dim": self.value_dim,
                "position": self.position.plan(at),
                "length": length_plan(self.unit_norm),
                "feature_map": self.feature_map.map_plan(self.heads, self.head_dim),
                "normaliser": self._normaliser_plan(),
            },
        )

    def _normaliser_plan(self) -> Call:
        if self.normaliser == "denominator":
            return Call(f"{_MODULE}:Denominator")
        if self.normaliser == "output_norm":
            return Call(f"{_MODULE}:OutputNorm", {"value_dim": self.value_dim})
        features = self.feature_map.features(self.head_dim)
        return Call(f"{_MODULE}:SumOfWeighted", {"features": features})


def features_op(feature_map: FeatureMap, heads: int, head_dim: int) -> Op:
    """From ``query`` and ``key`` to the features of both, side by side."""
    return Op(
        "features",
        ("query", "key"),
        (2 * heads * feature_map.features(head_dim),),
        "feature_map",
        expects=((heads * head_dim,), (heads * head_dim,)),
        params=feature_map.params(heads, head_dim),
        flops=feature_map.flops(heads, head_dim),
    )


def length_plan(unit_norm: bool) -> Call:
    """Whether queries and keys are scaled to one length."""
    return Call(f"{_MODULE}:{'UnitLength' if unit_norm else 'AnyLength'}")
