"""A query sees its neighbourhood."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    banded_op,
    bounded_weighted_plan,
    weighted_op,
)

_MODULE = "nas.search_spaces.scopes.window.module"


class Window(MaskScope):
    """The last `window` tokens, the query's own included; in an encoder, as many on each side.

    With softmax, long inputs are taken in blocks, so that the work grows with T x window.
    """

    papers = (
        Source("Longformer: The Long-Document Transformer", "https://arxiv.org/abs/2004.05150"),
        Source(
            "Efficient Long-Range Transformers: You Need to Attend More, but Not Necessarily at "
            "Every Layer",
            "https://arxiv.org/abs/2310.12442",
            "continued training on long sequences",
        ),
    )
    example = {"kind": "window", "window": 16}

    kind: Literal["window"] = "window"
    window: Count
    """Keys a query may see, itself included; in an encoder, on each side."""

    @property
    def cache_tokens(self) -> int | None:
        return self.window

    def mask_plan(self, at: Place) -> Call:
        name = "Recent" if at.causal else "Near"
        return Call(f"{_MODULE}:{name}", {"window": self.window})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            return bounded_weighted_plan(self.window, self.mask_plan(at), shape, normaliser, at)
        name = "Window" if at.causal else "CentredWindow"
        return Call(f"{_MODULE}:{name}", {"window": self.window})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        held = min(context, self.window)
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, held),)
        blocks = 2 if at.causal else 3  # the own block, the one before, and the one after
        return (banded_op(shape, min(context, blocks * self.window), held, self.window),)
