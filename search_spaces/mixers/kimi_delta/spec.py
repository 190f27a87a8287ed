"""Kimi Delta Attention: the delta rule with a decay for each key channel."""

from typing import Literal

from nas.kernels.channel_delta_rule.cost import (
    CHANNEL_DELTA_CHUNK,
    forward_flops_per_token,
    step_flops,
)
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_delta.spec import (
    OptionalConv,
    optional_conv,
    optional_conv_plan,
)
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.mixers.kimi_delta.module"
_ACTIVATIONS = {"sigmoid": "torch.nn:Sigmoid", "silu": "torch.nn:SiLU"}


class KimiDelta(Mixer):
    """Kimi Delta Attention: the gated delta rule in which each key channel fades by a factor of its
    own. The report's size is heads x head_dim = dim with a gate rank of head_dim."""

    papers = (
        Source(
            "Kimi Linear: An Expressive, Efficient Attention Architecture",
            "https://arxiv.org/abs/2510.26692",
            "the decay bounded by a sigmoid, which came after the report",
        ),
    )
    example = {"kind": "kimi_delta", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "kimi_delta",
            "heads": 2,
            "head_dim": 12,
            "value_factor": 2,
            "conv": 3,
            "gate_rank": 8,
            "negative_eigenvalues": True,
            "output_gate": "silu",
        },
        {"kind": "kimi_delta", "heads": 1, "head_dim": 32, "conv": 1, "output_gate": "none"},
    )

    kind: Literal["kimi_delta"] = "kimi_delta"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    conv: OptionalConv = 4
    """Tokens that the convolution on queries, keys and values sees, the present one included; 1
    leaves it out."""
    gate_rank: Count = 16
    """Width through which the decays, and the output gate, are computed."""
    negative_eigenvalues: Flag = False
    """Whether beta runs up to 2 instead of 1, so that a token can flip what is held at its key."""
    output_gate: Literal["sigmoid", "silu", "none"] = "sigmoid"

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    @property
    def channels(self) -> int:
        """Queries, keys and values of all heads."""
        return self.heads * (2 * self.head_dim + self.value_dim)

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        gated = self.output_gate != "none"
        return (
            linear("qkv", "x", at.dim, self.channels),
            *optional_conv("qkv", self.channels, self.conv),
            linear("beta", "x", at.dim, self.heads),
            linear("decay_down", "x", at.dim, self.gate_rank),
            linear("decay_up", "decay_down", self.gate_rank, key),
            elementwise("log_decay", ("decay_up",), key, params=key + self.heads),
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=self.value_dim),
            *(self._gate(at) if gated else ()),
            linear("out", "gated" if gated else "norm", value, at.dim),
        )

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return Op(
            "recurrence",
            ("conv" if self.conv > 1 else "qkv", "beta", "log_decay"),
            (value,),
            "recurrence",
            expects=((self.channels,), (self.heads,), (key,)),
            flops=self.heads * forward_flops_per_token(context, self.head_dim, self.value_dim),
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the matrix of all pairs, its inverse, the scores, the state before it
            scratch=3 * self.heads * CHANNEL_DELTA_CHUNK
            + key * self.value_dim // CHANNEL_DELTA_CHUNK,
        )

    def _gate(self, at: Place) -> Ops:
        value = self.heads * self.value_dim
        return (
            linear("gate_down", "x", at.dim, self.gate_rank),
            linear("gate_up", "gate_down", self.gate_rank, value, bias=True),
            elementwise("gated", ("gate_up", "norm"), value),
        )

    def memory(self, at: Place) -> Memory:
        matrix = self.heads * self.head_dim * self.value_dim
        return Memory(state=matrix + self.channels * (self.conv - 1))

    def plan(self, at: Place) -> Call:
        decay = {
            "dim": at.dim,
            "heads": self.heads,
            "key_dim": self.head_dim,
            "rank": self.gate_rank,
        }
        return Call(
            f"{_MODULE}:KimiDelta",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "conv": optional_conv_plan(self.channels, self.conv),
                "largest_beta": 2.0 if self.negative_eigenvalues else 1.0,
                "decay": Call(f"{_MODULE}:ChannelDecay", decay),
                "output_gate": self._gate_plan(at),
            },
        )

    def _gate_plan(self, at: Place) -> Call:
        if self.output_gate == "none":
            return Call("nas.search_spaces.mixers.gated_delta.module:NoGate")
        return Call(
            f"{_MODULE}:LowRankGate",
            {
                "dim": at.dim,
                "rank": self.gate_rank,
                "width": self.heads * self.value_dim,
                "activation": Call(_ACTIVATIONS[self.output_gate]),
            },
        )
