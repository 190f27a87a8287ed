"""A query sees the keys that a cheap estimate of the attention picks."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Rule, Scope, Source
from nas.search_spaces.ops import Op, Ops, shared
from nas.search_spaces.pieces.attend.spec import attend_op

_MODULE = "nas.search_spaces.scopes.estimated.module"
Weight = Annotated[float, Field(gt=0, le=10)]


class Estimated(Scope):
    """Linear attention and a small network estimate a map of `columns` columns over the visible
    keys; softmax attention runs on the keys in the `top` best columns. All pairs are computed and
    masked."""

    papers = (
        Source(
            "SEA: Sparse Linear Attention with Estimated Attention Mask",
            "https://arxiv.org/abs/2310.01777",
            "a trained teacher (the layer's own full scores teach the map instead), random "
            "features, the convolutions of the decoder, and the sparse kernels that make it linear",
        ),
    )
    example = {"kind": "estimated", "columns": 16, "top": 4, "hidden": 24}
    variants = ({"kind": "estimated", "columns": 8, "top": 2, "hidden": 8, "distil": 0.1},)
    rules = (
        Rule(("columns", "top"), lambda columns, top: top <= columns, "top is at most columns"),
    )
    sparse: ClassVar[bool] = True

    kind: Literal["estimated"] = "estimated"
    columns: Count
    """Columns of the compressed map."""
    top: Count
    """Columns whose keys a query sees."""
    hidden: Count
    """Hidden units of the network that makes the map; all heads share it."""
    distil: Weight = 0.01
    """Weight of the loss that makes the map follow the true attention."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        name = "PrefixColumns" if at.causal else "TextColumns"
        return Call(
            f"{_MODULE}:Estimated",
            {
                "head_dim": shape.value_dim,
                "width": self.columns,
                "top": self.top,
                "hidden": self.hidden,
                "distil": self.distil,
                "columns": Call(f"{_MODULE}:{name}"),
            },
        )

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        read, made = 2 * shape.value_dim + self.columns, self.columns + 2
        scores = shape.heads * context
        rough = attend_op(shape, context, context)
        network = Op(
            "estimate",
            ("rough", "value"),
            (shape.heads * made,),
            "linear",
            expects=((shape.heads * shape.value_dim,), (shape.groups * shape.value_dim,)),
            params=(read + 1) * self.hidden + (self.hidden + 1) * made,
            flops=2 * shape.heads * self.hidden * (read + made),
        )
        attend = attend_op(shape, context, context)
        # scores, their softmax and a copy without what is hidden; columns of the keys, eight bytes
        exact = 3 * scores + shared(2 * context)
        reads, expects = (*attend.reads, "estimate"), (*attend.expects, None)
        return (
            replace(rough, name="rough", kind="linear_attention", scratch=2 * scores),
            network,
            replace(attend, reads=reads, expects=expects, scratch=exact),
        )
