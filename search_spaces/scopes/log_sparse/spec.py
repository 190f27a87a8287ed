"""A query sees what is near, and exponentially fewer of the tokens beyond."""

from dataclasses import replace
from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Source
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import (
    MaskScope,
    attend_op,
    weighted_op,
    weighted_plan,
)

_MODULE = "nas.search_spaces.scopes.log_sparse.module"


class LogSparse(MaskScope):
    """The last `window` tokens and those 1, 2, 4, 8, ... back; in an encoder on both sides. With
    softmax only these are fetched, so that the work grows with T log T."""

    papers = (
        Source(
            "Enhancing the Locality and Breaking the Memory Bottleneck of Transformer on Time "
            "Series Forecasting",
            "https://arxiv.org/abs/1907.00235",
            "convolutions for queries and keys, and restarts of the pattern",
        ),
        Source("Efficient Transformers: A Survey", "https://arxiv.org/abs/2009.06732"),
    )
    example = {"kind": "log_sparse", "window": 4}
    sparse: ClassVar[bool] = True

    kind: Literal["log_sparse"] = "log_sparse"
    window: Count
    """Nearest tokens seen in full, the query's own included; in an encoder, on each side."""

    def mask_plan(self, at: Place) -> Call:
        name = "LogUpToNow" if at.causal else "LogBothWays"
        return Call(f"{_MODULE}:{name}", {"window": self.window})

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            return weighted_plan(self.mask_plan(at), shape, normaliser, at)
        name = "LogSparse" if at.causal else "LogSparseBothWays"
        return Call(f"{_MODULE}:{name}", {"window": self.window})

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        if normaliser.kind != "softmax":
            return (weighted_op(at, shape, normaliser, context, context),)
        held = self.distances(context)
        keys = held if at.causal else 2 * held - 1
        # fetched keys, the same scaled, and fetched values
        fetched = keys * shape.groups * (2 * shape.key_dim + shape.value_dim)
        return (replace(attend_op(shape, keys, held), scratch=fetched),)

    def distances(self, length: int) -> int:
        """How many distances below `length` are below `window` or a power of two."""
        near = min(self.window, length)
        powers = (1 << exponent for exponent in range((length - 1).bit_length()))
        return near + sum(power >= near for power in powers)
