"""What scopes of softmax attention have in common. No torch here."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from nas.plan import Call
from nas.search_spaces.base import HeadShape, Normaliser, Place, Scope
from nas.search_spaces.ops import Op, Ops, shared

_MODULE = "nas.search_spaces.pieces.attend.module"


class MaskScope(Scope):
    """A scope in which position alone decides which keys a query sees.

    All pairs are computed and those out of scope are masked, so the work is that of full attention.
    """

    takes_normaliser: ClassVar[bool] = True

    @abstractmethod
    def mask_plan(self, at: Place) -> Call:
        """A module that maps (rows [T], columns [S]), positions of queries and keys, to whether a
        query sees a key, [T, S]. It alone decides: where ``at.causal``, later keys are not seen."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        visible = self.mask_plan(at)
        if normaliser.kind == "softmax":
            return Call(f"{_MODULE}:MaskedSoftmax", {"visible": visible})
        return weighted_plan(visible, shape, normaliser, at)

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, context),)
        return (masked_op(shape, context, self.mask_scratch(at, context)),)

    def mask_scratch(self, at: Place, keys: int) -> int:
        """Values per token held for the mask of softmax over all pairs, made or in use."""
        return mask_scratch(keys)


def weighted_plan(visible: Call, shape: HeadShape, normaliser: Normaliser, at: Place) -> Call:
    """Dense attention with weights other than softmax."""
    weights = normaliser.weights_plan(at, shape.heads)
    return Call(f"{_MODULE}:Weighted", {"visible": visible, "normaliser": weights})


def bounded_weighted_plan(
    held: int, visible: Call, shape: HeadShape, normaliser: Normaliser, at: Place
) -> Call:
    """Dense attention with weights other than softmax that keeps the last `held` tokens."""
    return Call(
        "nas.search_spaces.scopes.window.module:WeightedWindow",
        {"window": held, **weighted_plan(visible, shape, normaliser, at).arguments},
    )


def per_token(pairs: int, context: int) -> int:
    """Keys per query, given how many pairs a sequence of `context` tokens takes; rounded up."""
    return -(-pairs // context)


def weighted_op(
    at: Place, shape: HeadShape, normaliser: Normaliser, context: int, decode_keys: int
) -> Op:
    """Dense attention with weights other than softmax, which holds its scores."""
    return replace(
        attend_op(shape, context, decode_keys),
        params=normaliser.params(at, shape.heads),
        scratch=normaliser.copies_at(at) * shape.heads * context,
    )


def masked_op(shape: HeadShape, keys: int, mask: int) -> Op:
    """Softmax over all pairs with a mask that takes so many values per token."""
    op = attend_op(shape, keys, keys)
    return replace(op, scratch=op.scratch + mask)


def banded_op(shape: HeadShape, keys: int, decode_keys: int, block: int) -> Op:
    """Softmax of blocks of queries, for each of which its keys and values are gathered."""
    op = attend_op(shape, keys, decode_keys)
    gathered = keys * shape.groups * (shape.key_dim + shape.value_dim) // block
    return replace(op, scratch=op.scratch + gathered + keys)  # each query has its own mask


def mask_scratch(keys: int) -> int:
    """Values per token of a mask: bytes, and the same as numbers to add to the scores."""
    return shared(5 * keys // 4)


def attend_op(shape: HeadShape, keys: int, decode_keys: int) -> Op:
    """Scores of each query with `keys` keys, and the sum of that many values, by torch's softmax
    attention, which holds scores and weights only where values are not as wide as keys."""
    fused = shape.key_dim == shape.value_dim
    query = shape.heads * shape.key_dim
    key, value = shape.groups * shape.key_dim, shape.groups * shape.value_dim
    pair = 2 * shape.heads * (shape.key_dim + shape.value_dim)
    return Op(
        "attend",
        ("query", "key", "value"),
        (shape.heads * shape.value_dim,),
        "attention",
        expects=((query,), (key,), (value,)),
        flops=pair * keys,
        decode_flops=pair * decode_keys,
        scratch=0 if fused else 2 * shape.heads * keys,
    )
