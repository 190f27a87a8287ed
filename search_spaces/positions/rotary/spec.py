"""Rotary position embedding."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Place, Position, Source
from nas.search_spaces.ops import Ops


class Rotary(Position):
    """Rotates pairs of channels of queries and keys by angles that grow with the position."""

    papers = (
        Source(
            "RoFormer: Enhanced Transformer with Rotary Position Embedding",
            "https://arxiv.org/abs/2104.09864",
        ),
    )
    example = {"kind": "rotary"}
    variants = ({"kind": "rotary", "base": 500.0},)

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(ge=1.0, le=1e9)] = 10_000.0
    """The slowest pair turns once in about 2 pi x base tokens."""

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return Call("nas.search_spaces.positions.rotary.module:Rotary", {"base": self.base})
