"""A query sees every so many-th token of its neighbourhood."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    banded_op,
    bounded_weighted_plan,
    per_token,
    weighted_op,
)

_MODULE = "nas.search_spaces.scopes.dilated.module"
_WINDOW = "nas.search_spaces.scopes.window.module"


class Dilated(MaskScope):
    """`window` tokens, `stride` apart, the query's own the last; in an encoder, as many on each
    side. The work grows with T x window."""

    papers = (
        Source(
            "Longformer: The Long-Document Transformer",
            "https://arxiv.org/abs/2004.05150",
            "dilations that differ between the heads of a layer",
        ),
        Source(
            "A Unified View of Long-Sequence Models towards Modeling Million-Scale Dependencies",
            "https://arxiv.org/abs/2302.06218",
            "attention split over several devices",
        ),
    )
    example = {"kind": "dilated", "window": 8, "stride": 2}
    sparse: ClassVar[bool] = True

    kind: Literal["dilated"] = "dilated"
    window: Count
    """Keys a query may see, itself included; in an encoder, on each side."""
    stride: Count
    """Tokens from one of these keys to the next; 1 is the plain window."""

    @property
    def cache_tokens(self) -> int | None:
        return (self.window - 1) * self.stride + 1

    def mask_plan(self, at: Place) -> Call:
        name = "DilatedRecent" if at.causal else "DilatedNear"
        return Call(f"{_MODULE}:{name}", {"window": self.window, "stride": self.stride})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            held = (self.window - 1) * self.stride + 1
            return bounded_weighted_plan(held, self.mask_plan(at), shape, normaliser, at)
        name = "Window" if at.causal else "CentredWindow"
        near = Call(f"{_WINDOW}:{name}", {"window": self.window})
        if not at.causal:
            return Call(f"{_MODULE}:CentredDilated", {"stride": self.stride, "near": near})
        return Call(
            f"{_MODULE}:Dilated", {"window": self.window, "stride": self.stride, "near": near}
        )

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        rounds = -(-context // self.stride)
        if normaliser.kind != "softmax":
            held = min(context, (self.window - 1) * self.stride + 1)
            return (weighted_op(at, shape, normaliser, context, held),)
        longer = context - (rounds - 1) * self.stride
        pairs = longer * self._pairs(at, rounds)
        pairs += (self.stride - longer) * self._pairs(at, rounds - 1)
        keys = per_token(pairs, context)
        return (banded_op(shape, keys, min(rounds, self.window), self.window),)

    def _pairs(self, at: Place, length: int) -> int:
        """Pairs that the plain window takes over a sequence of that length."""
        blocks = 2 if at.causal else 3
        if length <= blocks * self.window:
            return length * length
        return -(-length // self.window) * self.window * blocks * self.window
