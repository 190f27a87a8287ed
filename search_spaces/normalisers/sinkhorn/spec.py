"""Rows and columns normalised in turn."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class Sinkhorn(Normaliser):
    """exp(score), its rows and columns divided by their sums in turn; in the limit both sum to
    one."""

    papers = (
        Source(
            "Sinkformers: Transformers with Doubly Stochastic Attention",
            "https://arxiv.org/abs/2110.11773",
        ),
        Source(
            "Quantum Doubly Stochastic Transformers",
            "https://arxiv.org/abs/2504.16275",
            left_out="the quantum circuit",
        ),
    )
    example = {"kind": "sinkhorn"}
    variants = ({"kind": "sinkhorn", "steps": 4},)
    families = ("encoder",)
    family_reason = "a column sums over all queries, so that a token would see later ones"

    kind: Literal["sinkhorn"] = "sinkhorn"
    steps: Annotated[int, Field(strict=True, ge=2, le=100)] = 3
    """Normalisations, rows first; an odd number ends with rows. One would be softmax."""

    def weights_plan(self, at: Place, heads: int) -> Call:
        module = "nas.search_spaces.normalisers.sinkhorn.module:SinkhornWeights"
        return Call(module, {"steps": self.steps})
