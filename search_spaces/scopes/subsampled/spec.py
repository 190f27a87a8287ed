"""A query sees random subsets while training, and everything afterwards."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Normaliser, Place, Scope, Source
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Ops
from nas.search_spaces.pieces.attend.spec import attend_op
from nas.search_spaces.scopes.everything.spec import Everything


class Subsampled(Scope):
    """In training, windows of `window` tokens in a locally shuffled order; full attention
    otherwise, which is what its FLOPs count."""

    papers = (
        Source(
            "The Information Pathways Hypothesis: Transformers are Dynamic Self-Ensembles",
            "https://arxiv.org/abs/2306.01705",
            "averaging several subsampled passes at evaluation, and the dense fine-tuning at the "
            "end of training",
        ),
    )
    example = {"kind": "subsampled", "window": 16, "reach": 32}

    kind: Literal["subsampled"] = "subsampled"
    window: Count
    """Tokens of a random subset; the length over this is the reduction of the training cost."""
    reach: Count
    """Tokens over which the order is shuffled; 1 leaves it as it is, the length forgets it."""

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        return Call(
            "nas.search_spaces.scopes.subsampled.module:Subsampled",
            {
                "window": self.window,
                "reach": self.reach,
                "visible": Everything().mask_plan(at),
                "dense": Everything().attend_plan(at, shape, Softmax()),
            },
        )

    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        return (attend_op(shape, context, context),)
