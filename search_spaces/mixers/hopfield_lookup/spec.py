"""Hopfield lookup: each token retrieves from learned patterns."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.hopfield.spec import Beta, BetaForm, Steps, beta_params, beta_plan
from nas.search_spaces.ops import Op, Ops, linear


class HopfieldLookup(Mixer):
    """Attention to learned keys and values instead of those of other tokens: a memory of the
    training data. It mixes no tokens."""

    papers = (
        Source(
            "Hopfield Networks is All You Need",
            "https://arxiv.org/abs/2008.02217",
            "iteration until convergence; projections of the stored patterns, which are learned as "
            "keys and values directly",
        ),
    )
    example = {"kind": "hopfield_lookup", "heads": 4, "head_dim": 16, "patterns": 24}
    variants = (
        {
            "kind": "hopfield_lookup",
            "heads": 2,
            "head_dim": 8,
            "patterns": 5,
            "steps": 3,
            "beta": 2.0,
            "beta_form": "per_head",
        },
    )
    families = FAMILIES

    kind: Literal["hopfield_lookup"] = "hopfield_lookup"
    heads: Count
    head_dim: HeadDim
    patterns: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Learned patterns of each head."""
    steps: Steps = 1
    """Retrievals in a row; the last one returns values, those before it keys."""
    beta: Beta = 1.0
    """Inverse temperature in units of 1 / sqrt(head_dim); where a learned one starts."""
    beta_form: BetaForm = "fixed"
    """Whether beta stays as it is, or is learned from there: one, or one for each head."""

    @property
    def mixes_tokens(self) -> bool:
        return False

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        return (
            linear("query", "x", at.dim, width),
            Op(
                "retrieve",
                ("query",),
                (width,),
                "attention",
                expects=((width,),),
                params=2 * self.patterns * width + beta_params(self.beta_form, self.heads),
                flops=self.steps * 4 * width * self.patterns,
            ),
            linear("out", "retrieve", width, at.dim),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.hopfield_lookup.module:HopfieldLookup",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "patterns": self.patterns,
                "steps": self.steps,
                "beta": beta_plan(self.beta, self.beta_form, self.heads),
            },
        )
