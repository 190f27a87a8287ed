"""Gated delta rule: a matrix state that maps keys to values, corrected with each token."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.gated_delta_rule.cost import DELTA_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.short_conv.spec import short_conv

_MODULE = "nas.search_spaces.mixers.gated_delta.module"
OptionalConv = Annotated[int, Field(strict=True, ge=1, le=64)]
"""Tokens that a short convolution sees, the present one included; 1 leaves it out."""


def optional_conv(reads: str, channels: int, width: int) -> Ops:
    """The convolution as operators; none where it sees one token only."""
    return (short_conv("conv", reads, channels, width),) if width > 1 else ()


def optional_conv_plan(channels: int, width: int) -> Call:
    """How the convolution is built."""
    if width == 1:
        return Call(f"{_MODULE}:NoConv")
    piece = "nas.search_spaces.pieces.short_conv.module:ShortConv"
    return Call(piece, {"channels": channels, "width": width})


class GatedDelta(Mixer):
    """Gated DeltaNet; without decay and output gate it is DeltaNet. The gated paper's size is
    heads x head_dim = 3/4 dim with a value factor of 2."""

    papers = (
        Source(
            "Gated Delta Networks: Improving Mamba2 with Delta Rule",
            "https://arxiv.org/abs/2412.06464",
            "more value heads than key heads",
        ),
        Source(
            "Parallelizing Linear Transformers with the Delta Rule over Sequence Length",
            "https://arxiv.org/abs/2406.06484",
            "keys normalised by their sum, a fixed beta",
        ),
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
        ),
    )
    example = {"kind": "gated_delta", "heads": 4, "head_dim": 16}
    variants = (
        {"kind": "gated_delta", "heads": 2, "head_dim": 12, "value_factor": 2, "conv": 3},
        {
            "kind": "gated_delta",
            "heads": 4,
            "head_dim": 16,
            "decay": False,
            "output_gate": False,
        },
        {
            "kind": "gated_delta",
            "heads": 1,
            "head_dim": 32,
            "conv": 1,
            "feature": "identity",
            "negative_eigenvalues": True,
        },
    )

    kind: Literal["gated_delta"] = "gated_delta"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    conv: OptionalConv = 4
    """Tokens that the convolution on queries, keys and values sees, the present one included; 1
    leaves it out."""
    feature: Literal["silu", "identity"] = "silu"
    """What queries and keys pass before they are brought to length one; values pass SiLU."""
    negative_eigenvalues: Flag = False
    """Whether beta runs up to 2 instead of 1, so that a token can flip what is held at its key."""
    decay: Flag = True
    """Whether the state fades by a learned factor; without, it only changes by being corrected."""
    output_gate: Flag = True

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    @property
    def channels(self) -> int:
        """Queries, keys and values of all heads."""
        return self.heads * (2 * self.head_dim + self.value_dim)

    def ops(self, at: Place, context: int) -> Ops:
        value = self.heads * self.value_dim
        return (
            linear("qkv", "x", at.dim, self.channels),
            *optional_conv("qkv", self.channels, self.conv),
            linear("beta", "x", at.dim, self.heads),
            *self._decay(at),
            self._recurrence(context),
            elementwise("norm", ("recurrence",), value, params=self.value_dim),
            *self._output_gate(at),
            linear("out", "silu_mul" if self.output_gate else "norm", value, at.dim),
        )

    def _decay(self, at: Place) -> Ops:
        if not self.decay:
            return ()
        return (
            linear("rate", "x", at.dim, self.heads),
            elementwise("log_decay", ("rate",), self.heads, params=2 * self.heads),
        )

    def _recurrence(self, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        fade = ("log_decay",) if self.decay else ()
        return Op(
            "recurrence",
            ("conv" if self.conv > 1 else "qkv", "beta", *fade),
            (value,),
            "recurrence",
            expects=((self.channels,), (self.heads,), *((self.heads,) for _ in fade)),
            flops=self.heads * forward_flops_per_token(context, self.head_dim, self.value_dim),
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            # of each chunk, the matrix of all pairs, its inverse, the scores, the state before it
            scratch=3 * self.heads * DELTA_CHUNK + key * self.value_dim // DELTA_CHUNK,
        )

    def _output_gate(self, at: Place) -> Ops:
        if not self.output_gate:
            return ()
        value = self.heads * self.value_dim
        return (
            linear("gate", "x", at.dim, value),
            elementwise("silu_mul", ("gate", "norm"), value),
        )

    def memory(self, at: Place) -> Memory:
        matrix = self.heads * self.head_dim * self.value_dim
        return Memory(state=matrix + self.channels * (self.conv - 1))

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:GatedDelta",
            {
                "dim": at.dim,
                "heads": self.heads,
                "key_dim": self.head_dim,
                "value_dim": self.value_dim,
                "conv": optional_conv_plan(self.channels, self.conv),
                "feature": Call("torch.nn:SiLU" if self.feature == "silu" else "torch.nn:Identity"),
                "largest_beta": 2.0 if self.negative_eigenvalues else 1.0,
                "decay": self._decay_plan(at),
                "output_gate": self._output_gate_plan(at),
            },
        )

    def _decay_plan(self, at: Place) -> Call:
        if not self.decay:
            return Call(f"{_MODULE}:NoDecay")
        return Call(f"{_MODULE}:LearnedDecay", {"dim": at.dim, "heads": self.heads})

    def _output_gate_plan(self, at: Place) -> Call:
        if not self.output_gate:
            return Call(f"{_MODULE}:NoGate")
        width = self.heads * self.value_dim
        return Call(f"{_MODULE}:SwishGate", {"dim": at.dim, "width": width})
