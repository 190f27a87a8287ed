"""A query sees the keys that fit it best."""

from dataclasses import replace
from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Scope, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import attend_op
from nas.search_spaces.scopes.everything.spec import Everything


class TopK(Scope):
    """The `keys` keys with the largest scores. All scores are computed, so the work is that of full
    attention."""

    papers = (
        Source(
            "Memory-efficient Transformers via Top-k Attention",
            "https://arxiv.org/abs/2106.06899",
            "chunks of queries that save memory, and top-k in the FFN",
        ),
        Source(
            "KVT: k-NN Attention for Boosting Vision Transformers",
            "https://arxiv.org/abs/2106.00515",
        ),
    )
    example = {"kind": "top_k", "keys": 8}
    sparse: ClassVar[bool] = True

    kind: Literal["top_k"] = "top_k"
    keys: Count
    """Keys whose values a query mixes."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        return Call(
            "nas.search_spaces.scopes.top_k.module:BestKeys",
            {"keys": self.keys, "visible": Everything().mask_plan(at)},
        )

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        # scores, those of the chosen keys, and a byte for each that says which
        scratch = 9 * shape.heads * context // 4
        return (replace(attend_op(shape, context, context), scratch=scratch),)
