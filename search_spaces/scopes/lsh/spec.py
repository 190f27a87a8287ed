"""A query sees the keys in its own hash bucket."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Flag, HeadShape, Normaliser, Place, Scope, Source
from nas.search_spaces.ops import Op, Ops
from nas.search_spaces.pieces.attend.spec import masked_op
from nas.search_spaces.scopes.everything.spec import Everything

_MODULE = "nas.search_spaces.scopes.lsh.module"
Buckets = Annotated[int, Field(strict=True, ge=2, le=4096, multiple_of=2)]
"""Hash buckets; even, since each random direction gives two."""
Seed = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class LSH(Scope):
    """The keys that share a hash bucket with the query in any of `rounds` rounds, and the query's
    own only when there is no other. All pairs are computed and masked."""

    papers = (
        Source(
            "Reformer: The Efficient Transformer",
            "https://arxiv.org/abs/2001.04451",
            "sorting into chunks, which from left to right would let later tokens decide what an "
            "earlier one sees, and reversible layers",
        ),
        Source(
            "A Practical Survey on Faster and Lighter Transformers",
            "https://arxiv.org/abs/2103.14636",
            "sharing of parameters between layers, pruning, mixed precision and distillation",
        ),
        Source("Efficient Transformers: A Survey", "https://arxiv.org/abs/2009.06732"),
    )
    example = {"kind": "lsh", "rounds": 2, "buckets": 4}
    variants = ({"kind": "lsh", "rounds": 1, "buckets": 8, "unit_keys": True, "seed": 3},)
    sparse: ClassVar[bool] = True

    kind: Literal["lsh"] = "lsh"
    rounds: Count
    """Independent hashes; a query sees the union of its buckets."""
    buckets: Buckets
    """Buckets of each hash."""
    unit_keys: Flag = False
    """Whether keys are scaled to length one, as the paper does with shared queries and keys."""
    seed: Seed = 0
    """Of the random rotations, which are fixed."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        scope = Call(
            f"{_MODULE}:SameBucket",
            {
                "head_dim": shape.key_dim,
                "rounds": self.rounds,
                "buckets": self.buckets,
                "seed": self.seed,
                "visible": Everything().mask_plan(at),
            },
        )
        return Call(f"{_MODULE}:UnitKeys", {"scope": scope}) if self.unit_keys else scope

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        vector = shape.key_dim * self.rounds * self.buckets  # FLOPs of hashing one vector
        hashes = Op(
            "hashes",
            ("query", "key"),
            ((shape.heads + shape.groups) * self.rounds,),
            "matmul",
            expects=((shape.heads * shape.key_dim,), (shape.groups * shape.key_dim,)),
            flops=vector * (shape.heads + shape.groups),
            # hashes of earlier keys are not kept
            decode_flops=vector * (shape.heads + shape.groups * context),
        )
        # each head has its own mask: bytes, and the same as numbers to add to the scores
        attend = masked_op(shape, context, 5 * shape.heads * context // 4)
        reads, expects = (*attend.reads, "hashes"), (*attend.expects, None)
        return (hashes, replace(attend, reads=reads, expects=expects))
