"""A layer without an FFN."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import FFN, NOTHING, Place, Source
from nas.search_spaces.ops import Ops


class NoFFN(FFN):
    """No FFN: the layer is its mixer alone, as in Mamba and in attention-only models."""

    papers = (
        Source(
            "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
            "https://arxiv.org/abs/2312.00752",
        ),
        Source(
            "Reducing the Transformer Architecture to a Minimum", "https://arxiv.org/abs/2410.13732"
        ),
        Source(
            "What Matters in Transformers? Not All Attention is Needed",
            "https://arxiv.org/abs/2406.15786",
        ),
    )
    example = {"kind": "none"}
    absent: ClassVar[bool] = True

    kind: Literal["none"] = "none"

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return NOTHING
