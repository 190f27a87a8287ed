"""A query sees its own block."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    attend_op,
    bounded_weighted_plan,
    per_token,
    weighted_op,
)

_MODULE = "nas.search_spaces.scopes.blocks.module"


class Blocks(MaskScope):
    """Blocks of `block` tokens that do not overlap; a query sees its own block, up to itself
    unless in an encoder. The work grows with T x block."""

    papers = (
        Source(
            "The Devil in Linear Transformer",
            "https://arxiv.org/abs/2210.10340",
            "the linear layers with output norm (NormAttention), which are mixers of their own",
        ),
        Source("Efficient Transformers: A Survey", "https://arxiv.org/abs/2009.06732"),
    )
    example = {"kind": "blocks", "block": 16}
    sparse: ClassVar[bool] = True

    kind: Literal["blocks"] = "blocks"
    block: Count
    """Tokens of a block."""

    @property
    def cache_tokens(self) -> int | None:
        return self.block

    def mask_plan(self, at: Place) -> Call:
        name = "EarlierInBlock" if at.causal else "SameBlock"
        return Call(f"{_MODULE}:{name}", {"block": self.block})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            return bounded_weighted_plan(self.block, self.mask_plan(at), shape, normaliser, at)
        name = "OwnBlock" if at.causal else "WholeBlock"
        return Call(f"{_MODULE}:{name}", {"block": self.block})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, min(context, self.block)),)
        keys = per_token(block_pairs(context, self.block), context)
        return (attend_op(shape, keys, (context - 1) % self.block + 1),)


def block_pairs(context: int, block: int) -> int:
    """Pairs of a query and a key of the same block, later keys included."""
    whole, rest = divmod(context, block)
    return whole * block * block + rest * rest
