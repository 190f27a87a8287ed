"""A query sees its own segment."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    attend_op,
    per_token,
    weighted_op,
    weighted_plan,
)
from nas.search_spaces.scopes.blocks.spec import block_pairs

_MODULE = "nas.search_spaces.scopes.segments.module"


class Segments(MaskScope):
    """The input is `count` segments of equal length, and a query sees its own. In the lower layers
    of an encoder this delays when segments come to know of each other."""

    papers = (
        Source(
            "LAIT: Efficient Multi-Segment Encoding in Transformers with Layer-Adjustable "
            "Interaction",
            "https://arxiv.org/abs/2305.19585",
            "segments of unequal length, and keeping the encodings of segments seen before",
        ),
    )
    example = {"kind": "segments", "count": 4}
    families: ClassVar[tuple[str, ...]] = ("encoder",)
    family_reason: ClassVar[str] = (
        "where a segment ends follows from the length of the whole input, which is not known from "
        "left to right; the scope 'blocks' has a fixed length instead"
    )
    sparse: ClassVar[bool] = True

    kind: Literal["segments"] = "segments"
    count: Count
    """Segments of the input."""

    def mask_plan(self, at: Place) -> Call:
        return Call(f"{_MODULE}:SameSegment", {"count": self.count})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            return weighted_plan(self.mask_plan(at), shape, normaliser, at)
        return Call(f"{_MODULE}:OwnSegment", {"count": self.count})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, context),)
        length = -(-context // self.count)
        keys = per_token(block_pairs(context, length), context)
        return (attend_op(shape, keys, keys),)
