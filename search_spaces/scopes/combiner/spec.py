"""A query sees everything, most of it through summaries."""

from dataclasses import replace
from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Scope, Source
from nas.search_spaces.ops import Op, Ops
from nas.search_spaces.pieces.attend.spec import banded_op, per_token

_MODULE = "nas.search_spaces.scopes.combiner.module"
_POOLS = {"mean": "MeanPool", "max": "MaxPool"}


class Combiner(Scope):
    """A query attends to its own block of `block` tokens directly and to everything else through
    one pooled key and value for each region. No token is out of sight."""

    papers = (
        Source(
            "Combiner: Full Attention Transformer with Sparse Computation Cost",
            "https://arxiv.org/abs/2107.05768",
            "pooled queries in the weights inside a region, for which pooled keys stand, and the "
            "vertical and mixed forms of the axial pattern",
        ),
    )
    example = {"kind": "combiner", "block": 8}
    variants = (
        {"kind": "combiner", "block": 4, "regions": "log_sparse", "pool": "max"},
        {"kind": "combiner", "block": 8, "regions": "axial"},
        {"kind": "combiner", "block": 16, "regions": "axial", "pool": "max"},
    )

    kind: Literal["combiner"] = "combiner"
    block: Count
    """Tokens of a block; for the axial pattern, of a row. The root of the length costs least."""
    regions: Literal["fixed", "log_sparse", "axial"] = "fixed"
    """All other blocks; or blocks merged into regions that double with distance; or, with blocks as
    rows, the columns above (in an encoder also below)."""
    pool: Literal["mean", "max"] = "mean"
    """How a region's keys make its key."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        pool = Call(f"{_MODULE}:{_POOLS[self.pool]}")
        name = "Combiner" if at.causal else "BothWaysCombiner"
        regions = self._regions_plan(at, pool)
        return Call(f"{_MODULE}:{name}", {"block": self.block, "regions": regions})

    def _regions_plan(self, at: Place, pool: Call) -> Call:
        if self.regions == "axial":
            above = Call(f"{_MODULE}:Columns", {"pool": pool})
            return above if at.causal else Call(f"{_MODULE}:ColumnsBothWays", {"columns": above})
        name = "EachBlock" if self.regions == "fixed" else "Dyadic"
        return Call(f"{_MODULE}:{name}", {"pool": pool, "causal": at.causal})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        blocks = -(-context // self.block)
        known = self._known(at, blocks)
        pair = 2 * shape.groups * (shape.key_dim + shape.value_dim)
        summaries = Op(
            "summaries",
            ("key", "value"),
            (shape.groups * (shape.key_dim + shape.value_dim),),
            "matmul",
            expects=((shape.groups * shape.key_dim,), (shape.groups * shape.value_dim,)),
            flops=per_token(pair * self._pairs(at, blocks, last=blocks), context),
            decode_flops=pair * self._pairs(at, blocks, last=1),  # not kept but made again
        )
        keys = per_token(blocks * self.block * (self.block + known), context)
        attend = banded_op(shape, keys, (context - 1) % self.block + 1 + known, self.block)
        reads, expects = (*attend.reads, "summaries"), (*attend.expects, None)
        return (summaries, replace(attend, reads=reads, expects=expects))

    def _known(self, at: Place, blocks: int) -> int:
        """Regions of one of so many blocks."""
        if self.regions == "axial":
            return self.block if at.causal else 2 * self.block
        return blocks if self.regions == "fixed" else (blocks - 1).bit_length()

    def _pairs(self, at: Place, blocks: int, last: int) -> int:
        """Pairs of a region and one of its tokens, to summarise what the last blocks know."""
        if self.regions == "fixed":
            return blocks * self.block
        if self.regions == "axial":
            return self._known(at, blocks) * blocks * last
        return self.block * sum(
            _merged(blocks, last, 1 << n) for n in range(self._known(at, blocks))
        )


def _merged(blocks: int, last: int, size: int) -> int:
    """Blocks that take part when so many in a row are one region, the last one filled up."""
    first = (blocks - last) // size & ~1
    return (-(-blocks // size) - first) * size
