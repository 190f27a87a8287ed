"""Average pooling: the least that mixes tokens at all."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise

_MODULE = "nas.search_spaces.mixers.pooling.module"


class Pooling(Mixer):
    """The mean of the latest tokens, without parameters. It tells a task that needs mixing from one
    that needs any particular mixing; it cannot look anything up."""

    papers = (
        Source(
            "MetaFormer Is Actually What You Need for Vision",
            "https://arxiv.org/abs/2111.11418",
            "two-dimensional pooling",
        ),
    )
    example = {"kind": "pooling", "window": 3}
    variants = ({"kind": "pooling", "window": 16, "subtract": False},)
    families = FAMILIES

    kind: Literal["pooling"] = "pooling"
    window: Annotated[int, Field(strict=True, ge=2, le=4096)]
    """Tokens that are averaged, the present one included; in an encoder they lie around it."""
    subtract: Flag = True
    """Whether the token itself is subtracted, since the residual adds it again."""

    def ops(self, at: Place, context: int) -> Ops:
        pool = Op("pool", ("x",), (at.dim,), "pooling", expects=((at.dim,),))
        return (pool, elementwise("subtract", ("pool", "x"), at.dim)) if self.subtract else (pool,)

    def memory(self, at: Place) -> Memory:
        return Memory(state=at.dim * (self.window - 1))

    def plan(self, at: Place) -> Call:
        name = "TrailingMean" if at.causal else "CentredMean"
        pool = Call(f"{_MODULE}:{name}", {"window": self.window})
        return Call(f"{_MODULE}:MinusItself", {"pool": pool}) if self.subtract else pool
