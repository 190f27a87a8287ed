"""Gated attention inside chunks, with a moving average or dilated convolutions for the rest."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.long_conv.cost import scratch_values_per_token
from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Rule, Source, only_with
from nas.search_spaces.mixers.dilated_conv.spec import (
    DilationFactor,
    Dilations,
    StackDepth,
    TapCount,
)
from nas.search_spaces.ops import Op, Ops, elementwise, linear, output

_MODULE = "nas.search_spaces.mixers.chunked_conv_attention.module"
_FURTHEST = 1 << 20


class ChunkedConvAttention(Mixer):
    """One head of attention that sees its own chunk, while a long operator, a damped moving average
    or a stack of dilated convolutions, carries what came before."""

    papers = (
        Source(
            "TCNCA: Temporal Convolution Network with Chunked Attention for Scalable Sequence "
            "Processing",
            "https://arxiv.org/abs/2312.05605",
            "the simplified block for associative recall",
        ),
        Source(
            "Mega: Moving Average Equipped Gated Attention",
            "https://arxiv.org/abs/2209.10655",
            "the Laplace attention function",
        ),
    )
    example = {"kind": "chunked_conv_attention", "key_dim": 16, "value_dim": 48, "chunk": 16}
    variants = (
        {
            "kind": "chunked_conv_attention",
            "key_dim": 8,
            "value_dim": 32,
            "chunk": 32,
            "long_operator": "ema",
            "ema_states": 3,
        },
        {
            "kind": "chunked_conv_attention",
            "key_dim": 8,
            "value_dim": 24,
            "chunk": 8,
            "conv_width": 3,
            "conv_layers": 2,
            "dilation_factor": 2,
        },
    )
    rules = (
        Rule(
            ("conv_width", "conv_layers", "dilation_factor"),
            lambda width, layers, factor: (width - 1) * factor ** (layers - 1) < _FURTHEST,
            f"(conv_width - 1) * dilation_factor ** (conv_layers - 1) must be below {_FURTHEST}",
        ),
    )
    conditions = (
        only_with("ema_states", "long_operator", "ema"),
        only_with("conv_width", "long_operator", "dilated_conv"),
        only_with("conv_layers", "long_operator", "dilated_conv"),
        only_with("dilation_factor", "long_operator", "dilated_conv"),
    )
    families = FAMILIES

    kind: Literal["chunked_conv_attention"] = "chunked_conv_attention"
    key_dim: Count
    """Channels of queries and keys."""
    value_dim: Count
    """Channels of values."""
    chunk: Count
    """Tokens of a chunk, which attention does not leave."""
    long_operator: Literal["dilated_conv", "ema"] = "dilated_conv"
    """What carries the past from chunk to chunk."""
    ema_states: Annotated[int, Field(strict=True, ge=1, le=64)] = 16
    """Moving averages of each channel; for `ema`."""
    conv_width: TapCount = 4
    """Tokens that one convolution sees; for `dilated_conv`."""
    conv_layers: StackDepth = 3
    """Convolutions; for `dilated_conv`."""
    dilation_factor: DilationFactor = 4
    """Spacing of the tokens that a convolution sees, over that of the one before; for
    `dilated_conv`."""

    def _stack(self, at: Place) -> Dilations:
        return Dilations(
            channels=at.dim,
            width=self.conv_width,
            layers=self.conv_layers,
            factor=self.dilation_factor,
            depthwise=True,
            residual=True,
        )

    def ops(self, at: Place, context: int) -> Ops:
        dim, key, value = at.dim, self.key_dim, self.value_dim
        long = (
            self._stack(at).ops()
            if self.long_operator == "dilated_conv"
            else self._ema(at, context)
        )
        smooth = output(long)
        return (
            *long,
            linear("shared", smooth, dim, key, bias=True),
            elementwise("query", ("shared",), key, params=2 * key),
            elementwise("key", ("shared",), key, params=key),
            linear("value", "x", dim, value, bias=True),
            self._attend(at, context),
            linear("reset", smooth, dim, value, bias=True),
            elementwise("reset_mul", ("reset", "attend"), value),
            linear("attended", "reset_mul", value, dim),
            linear("candidate", smooth, dim, dim, bias=True),
            linear("update", smooth, dim, dim, bias=True),
            elementwise("mix", ("update", "candidate", "attended", "x"), dim),
        )

    def _ema(self, at: Place, context: int) -> Ops:
        dim, ways = at.dim, 1 if at.causal else 2
        average = Op(
            "average",
            ("x",),
            (dim,),
            "long_convolution",
            expects=((dim,),),
            params=ways * 4 * dim * self.ema_states,
            scratch=ways * dim * scratch_values_per_token(context, context),
        )
        return (average, elementwise("smooth", ("average", "x"), dim, params=dim))

    def _attend(self, at: Place, context: int) -> Op:
        key, value = self.key_dim, self.value_dim
        held = (context - 1) % self.chunk + 1  # tokens of the chunk in which a step stands
        return Op(
            "attend",
            ("query", "key", "value"),
            (value,),
            "attention",
            expects=((key,), (key,), (value,)),
            params=self.chunk if at.causal else 2 * self.chunk - 1,
            flops=2 * (key + value) * min(self.chunk, context),
            decode_flops=2 * (key + value) * held,
            scratch=min(self.chunk, context),
        )

    def memory(self, at: Place) -> Memory:
        averages = at.dim * self.ema_states
        long = self._stack(at).state if self.long_operator == "dilated_conv" else averages
        return Memory(state=long + self.chunk * (self.key_dim + self.value_dim))

    def plan(self, at: Place) -> Call:
        attend = "ChunkAttention" if at.causal else "ChunkAttentionBothWays"
        convolved = self.long_operator == "dilated_conv"
        return Call(
            f"{_MODULE}:ChunkedConvAttention",
            {
                "dim": at.dim,
                "key_dim": self.key_dim,
                "value_dim": self.value_dim,
                "smooth": self._stack(at).plan(at) if convolved else self._ema_plan(at),
                "attend": Call(f"{_MODULE}:{attend}", {"chunk": self.chunk}),
            },
        )

    def _ema_plan(self, at: Place) -> Call:
        one = Call(f"{_MODULE}:DampedEma", {"dim": at.dim, "states": self.ema_states})
        both = Call(f"{_MODULE}:EmaBothWays", {"before": one, "after": one})
        averages = one if at.causal else both
        return Call(f"{_MODULE}:SmoothedEma", {"dim": at.dim, "averages": averages})
