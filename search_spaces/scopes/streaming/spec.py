"""A query sees the first tokens and its neighbourhood."""

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

_MODULE = "nas.search_spaces.scopes.streaming.module"


class Streaming(MaskScope):
    """The first `sinks` tokens and the last `window`; in an encoder, as many on each side. With
    softmax the work grows with T x (sinks + window), and only what is seen stays in the cache."""

    papers = (
        Source(
            "Efficient Streaming Language Models with Attention Sinks",
            "https://arxiv.org/abs/2309.17453",
            "positions counted within the cache, and a sink that is a learned token",
        ),
        Source(
            "LightTransfer: Your Long-Context LLM is Secretly a Hybrid Model with Effortless "
            "Adaptation",
            "https://arxiv.org/abs/2410.13846",
            "choosing the layers by the measured share of attention on sinks and recent tokens",
        ),
    )
    example = {"kind": "streaming", "sinks": 4, "window": 16}
    sparse: ClassVar[bool] = True

    kind: Literal["streaming"] = "streaming"
    sinks: Count
    """Tokens at the beginning that every later one sees."""
    window: Count
    """Nearest keys a query may see, itself included; in an encoder, on each side."""

    @property
    def cache_tokens(self) -> int | None:
        return self.sinks + self.window

    def mask_plan(self, at: Place) -> Call:
        name = "RecentOrSink" if at.causal else "NearOrSink"
        return Call(f"{_MODULE}:{name}", {"sinks": self.sinks, "window": self.window})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        numbers = {"sinks": self.sinks, "window": self.window}
        if normaliser.kind != "softmax":
            weighted = weighted_plan(self.mask_plan(at), shape, normaliser, at).arguments
            return Call(f"{_MODULE}:WeightedSinks", {**numbers, **weighted})
        name = "SinkWindow" if at.causal else "CentredSinkWindow"
        return Call(f"{_MODULE}:{name}", numbers)

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        held = min(context, self.sinks + self.window)
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, held),)
        keys = sink_keys(context, self.sinks, self.window, blocks=2 if at.causal else 3)
        return (banded_op(shape, keys, held, self.window),)


def sink_keys(context: int, sinks: int, window: int, blocks: int) -> int:
    """Keys per query: sinks and so many blocks of a window, or everything if that is less."""
    if context <= sinks + blocks * window:
        return context
    rows = -(-context // window) * window  # the last block is filled up
    return per_token(rows * (sinks + blocks * window), context)
