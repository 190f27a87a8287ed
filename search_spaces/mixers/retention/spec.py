"""Retention: a matrix state in which each head fades at a fixed rate of its own."""

from typing import TYPE_CHECKING, Any, Literal

from nas.kernels.linear_attention.cost import LINEAR_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call
from nas.search_spaces.base import Count, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.positions.rotary.spec import Rotary

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition


class Retention(Mixer):
    """Linear attention whose heads forget at fixed rates, from 1/32 per token downwards. The
    paper's size is heads x head_dim = dim with a value factor of 2."""

    papers = (
        Source(
            "Retentive Network: A Successor to Transformer for Large Language Models",
            "https://arxiv.org/abs/2307.08621",
            "the scaling of scores before the norm, which the norm cancels",
        ),
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
        ),
        Source(
            "Gated Linear Attention Transformers with Hardware-Efficient Training",
            "https://arxiv.org/abs/2312.06635",
            "learned gates, which are the mixer gated_linear",
        ),
    )
    example = {"kind": "retention", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "retention",
            "heads": 2,
            "head_dim": 16,
            "value_factor": 2,
            "position": {"kind": "none"},
            "norm": "rms",
        },
    )

    kind: Literal["retention"] = "retention"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    position: "AnyPosition" = Rotary()
    norm: Literal["group", "rms"] = "group"
    """Of each head's output: mean and variance without weights, as in the paper, or root mean
    square with one weight per channel, shared by the heads."""

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
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=self._norm_params()),
            linear("gate", "x", at.dim, value),
            elementwise("silu_mul", ("gate", "norm"), value),
            linear("out", "silu_mul", value, at.dim),
        )

    def _norm_params(self) -> int:
        return self.value_dim if self.norm == "rms" else 0

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return Op(
            "recurrence",
            ("query", "key", "value"),
            (value,),
            "recurrence",
            expects=((key,), (key,), (value,)),
            flops=self.heads * forward_flops_per_token(context, self.head_dim, self.value_dim),
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the scores of all pairs and the state before it
            scratch=self.heads * LINEAR_CHUNK + key * self.value_dim // LINEAR_CHUNK,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.heads * self.head_dim * self.value_dim)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.retention.module:Retention",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "position": self.position.plan(at),
                "norm": self._norm_plan(),
            },
        )

    def _norm_plan(self) -> Call:
        if self.norm == "rms":
            return Call("nas.search_spaces.norms.rms.module:RMSNorm", {"dim": self.value_dim})
        numbers: dict[str, Any] = {"normalized_shape": self.value_dim, "elementwise_affine": False}
        return Call("torch.nn:LayerNorm", numbers)
