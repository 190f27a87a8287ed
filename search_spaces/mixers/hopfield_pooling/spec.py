"""Hopfield pooling: learned states read the sequence, and every token reads the states."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.hopfield.spec import Beta, BetaForm, Steps, beta_params, beta_plan
from nas.search_spaces.ops import Op, Ops, linear


class HopfieldPooling(Mixer):
    """A fixed number of learned states retrieve from all tokens, and every token retrieves from
    what they found: tokens see each other through the states only."""

    papers = (
        Source(
            "Hopfield Networks is All You Need",
            "https://arxiv.org/abs/2008.02217",
            "iteration until convergence; pooling to a single vector in place of the sequence, "
            "which is a matter of the head",
        ),
    )
    example = {"kind": "hopfield_pooling", "heads": 4, "head_dim": 16, "states": 8}
    variants = (
        {
            "kind": "hopfield_pooling",
            "heads": 2,
            "head_dim": 8,
            "states": 3,
            "steps": 3,
            "beta": 2.0,
            "beta_form": "per_head",
        },
    )
    families = ("encoder",)
    family_reason = "its states pool the whole sequence, so that a token would see later ones"

    kind: Literal["hopfield_pooling"] = "hopfield_pooling"
    heads: Count
    head_dim: HeadDim
    states: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Learned states of each head."""
    steps: Steps = 1
    """Retrievals of a state in a row; the last one returns what tokens read."""
    beta: Beta = 1.0
    """Inverse temperature in units of 1 / sqrt(head_dim); where a learned one starts."""
    beta_form: BetaForm = "fixed"
    """Whether beta stays as it is, or is learned from there: one, or one for each head."""

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        learned = self.states * width + beta_params(self.beta_form, self.heads)
        return (
            linear("query", "x", at.dim, width),
            linear("key", "x", at.dim, width),
            linear("value", "x", at.dim, width),
            Op(
                "pool",
                ("key", "value"),
                (width,),
                "attention",
                expects=((width,), (width,)),
                params=learned,
                # scores and keys in every step, and values in the last
                flops=(4 * self.steps + 2) * width * self.states,
            ),
            Op(
                "retrieve",
                ("query", "pool"),
                (width,),
                "attention",
                expects=((width,), (width,)),
                flops=4 * width * self.states,
            ),
            linear("out", "retrieve", width, at.dim),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.hopfield_pooling.module:HopfieldPooling",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "states": self.states,
                "steps": self.steps,
                "beta": beta_plan(self.beta, self.beta_form, self.heads),
            },
        )
