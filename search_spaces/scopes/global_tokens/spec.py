"""A query sees its neighbourhood and a few tokens that everything sees."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    banded_op,
    per_token,
    weighted_op,
    weighted_plan,
)
from nas.search_spaces.scopes.streaming.spec import sink_keys

_MODULE = "nas.search_spaces.scopes.global_tokens.module"
_SINKS = "nas.search_spaces.scopes.streaming.module"


class GlobalTokens(MaskScope):
    """A window, and the first `tokens` tokens global: all see them and, in an encoder, they see
    all. From left to right this is the pattern of `streaming`."""

    papers = (
        Source(
            "Longformer: The Long-Document Transformer",
            "https://arxiv.org/abs/2004.05150",
            "projections of their own for the global tokens, and global tokens chosen by the task",
        ),
        Source(
            "A Practical Survey on Faster and Lighter Transformers",
            "https://arxiv.org/abs/2103.14636",
            "sharing of parameters between layers, pruning, mixed precision and distillation",
        ),
        Source("Efficient Transformers: A Survey", "https://arxiv.org/abs/2009.06732"),
    )
    example = {"kind": "global_tokens", "tokens": 2, "window": 16}
    sparse: ClassVar[bool] = True

    kind: Literal["global_tokens"] = "global_tokens"
    tokens: Count
    """Global tokens, at the beginning."""
    window: Count
    """Nearest keys a query may see, itself included; in an encoder, on each side."""

    @property
    def cache_tokens(self) -> int | None:
        return self.tokens + self.window

    def mask_plan(self, at: Place) -> Call:
        if at.causal:
            return Call(f"{_SINKS}:RecentOrSink", {"sinks": self.tokens, "window": self.window})
        return Call(f"{_MODULE}:NearOrGlobal", {"tokens": self.tokens, "window": self.window})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        sinks = {"sinks": self.tokens, "window": self.window}
        if normaliser.kind != "softmax":
            weighted = weighted_plan(self.mask_plan(at), shape, normaliser, at)
            if not at.causal:
                return weighted
            return Call(f"{_SINKS}:WeightedSinks", {**sinks, **weighted.arguments})
        if at.causal:
            return Call(f"{_SINKS}:SinkWindow", sinks)
        return Call(f"{_MODULE}:GlobalTokens", {"tokens": self.tokens, "window": self.window})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        held = min(context, self.tokens + self.window)
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, held),)
        return (banded_op(shape, self._keys(at, context), held, self.window),)

    def _keys(self, at: Place, context: int) -> int:
        """Keys per query; in an encoder, the global tokens' own pass is spread over all."""
        if at.causal:
            return sink_keys(context, self.tokens, self.window, blocks=2)
        wide = per_token(min(self.tokens, context) * context, context)
        local = sink_keys(context, self.tokens, self.window, blocks=3)
        return wide + (local if context > self.tokens else 0)
