"""No position in attention."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Place, Position, Source
from nas.search_spaces.ops import Ops


class NoPosition(Position):
    """Queries and keys as they are; the causal mask alone tells order."""

    papers = (
        Source(
            "The Impact of Positional Encoding on Length Generalization in Transformers",
            "https://arxiv.org/abs/2305.19466",
        ),
    )
    example = {"kind": "none"}

    kind: Literal["none"] = "none"

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return Call("nas.search_spaces.positions.none.module:NoPosition")
