"""Mamba-2: state space duality, a matrix state that fades by one factor per head."""

from typing import Literal

from nas.kernels.linear_attention.cost import LINEAR_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import GROUPS_DIVIDE_HEADS
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.short_conv.spec import ConvWidth, short_conv


class Mamba2(Mixer):
    """A state space whose states fade by one factor per head that depends on the token. The
    paper's block takes the place of mixer and FFN (give it the FFN `none`), with heads x head_dim =
    2 dim and head_dim 64."""

    papers = (
        Source(
            "Transformers are SSMs: Generalized Models and Efficient Algorithms Through "
            "Structured State Space Duality",
            "https://arxiv.org/abs/2405.21060",
        ),
        Source(
            "Multimodal Mamba: Decoder-only Multimodal State Space Model via Quadratic to Linear "
            "Distillation",
            "https://arxiv.org/abs/2502.13145",
            "seeding the weights from a trained attention, and its three stages of distillation",
        ),
    )
    example = {"kind": "mamba2", "heads": 4, "head_dim": 16, "states": 16}
    variants = (
        {
            "kind": "mamba2",
            "heads": 6,
            "head_dim": 8,
            "states": 5,
            "groups": 3,
            "conv": 3,
            "conv_bias": False,
            "bias": True,
        },
        {"kind": "mamba2", "heads": 2, "head_dim": 32},
    )
    rules = (GROUPS_DIVIDE_HEADS,)

    kind: Literal["mamba2"] = "mamba2"
    heads: Count
    head_dim: Count
    """Channels of one head."""
    states: Count = 128
    """States of each channel."""
    groups: Count = 1
    """How many heads in a row share what is written and read; as many as heads is like
    attention with a key and query per head."""
    conv: ConvWidth = 4
    conv_bias: Flag = True
    bias: Flag = False
    """Of the projections into and out of the block."""

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim

    @property
    def convolved(self) -> int:
        """Channels that pass the convolution."""
        return self.inner + 2 * self.groups * self.states

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("enter", "x", at.dim, self.convolved, bias=self.bias),
            short_conv("conv", "enter", self.convolved, self.conv, bias=self.conv_bias),
            elementwise("silu", ("conv",), self.convolved),
            linear("rate", "x", at.dim, self.heads, bias=self.bias),
            elementwise("step", ("rate",), self.heads, params=2 * self.heads),
            self._recurrence(context),
            Op("skip", ("recurrence", "silu"), (self.inner,), params=self.heads),
            linear("gate", "x", at.dim, self.inner, bias=self.bias),
            elementwise("norm", ("skip", "gate"), self.inner, params=self.inner),
            linear("out", "norm", self.inner, at.dim, bias=self.bias),
        )

    def _recurrence(self, context: int) -> Op:
        forward = forward_flops_per_token(context, self.states, self.head_dim)
        return Op(
            "recurrence",
            ("silu", "step"),
            (self.inner,),
            "recurrence",
            expects=((self.convolved,), (self.heads,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.states, self.head_dim),
            # of each chunk, the scores of all pairs, their decays and the product of both, and two
            # states; queries and keys of each head
            scratch=self.heads * (3 * LINEAR_CHUNK + 2 * self.states)
            + 2 * self.inner * self.states // LINEAR_CHUNK,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.inner * self.states + self.convolved * (self.conv - 1))

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.mamba2.module:Mamba2",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "states": self.states,
                "groups": self.groups,
                "conv": self.conv,
                "conv_bias": self.conv_bias,
                "bias": self.bias,
            },
        )
