"""Hopfield association: attention with several retrieval steps and a temperature."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Count,
    HeadShape,
    Memory,
    Mixer,
    Place,
    Source,
)
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

_MODULE = "nas.search_spaces.mixers.hopfield.module"

Steps = Annotated[int, Field(strict=True, ge=1, le=16)]
"""Retrievals in a row; the last one returns values."""
Beta = Annotated[float, Field(gt=0.0, le=1000.0)]
"""Inverse temperature of a retrieval, in units of 1 / sqrt(head_dim)."""
BetaForm: TypeAlias = Literal["fixed", "learned", "per_head"]
"""Whether beta stays as it is, or is learned from there: one, or one for each head."""


class Hopfield(Mixer):
    """Attention as retrieval from an associative memory: the state of a token moves towards the
    keys like it before their values are read. One step with a beta of 1 is attention."""

    papers = (
        Source(
            "Hopfield Networks is All You Need",
            "https://arxiv.org/abs/2008.02217",
            "iteration until convergence, which has no fixed cost; values made from the keys; "
            "layer norms within the layer. Lookup and pooling are the mixers 'hopfield_lookup' "
            "and 'hopfield_pooling'",
        ),
    )
    example = {"kind": "hopfield", "heads": 4, "head_dim": 16, "steps": 2}
    variants = (
        {"kind": "hopfield", "heads": 2, "head_dim": 8, "steps": 3, "beta_form": "learned"},
        {
            "kind": "hopfield",
            "heads": 3,
            "head_dim": 8,
            "steps": 1,
            "beta": 2.5,
            "beta_form": "per_head",
            "position": {"kind": "none"},
        },
    )
    families = FAMILIES

    kind: Literal["hopfield"] = "hopfield"
    heads: Count
    head_dim: HeadDim
    steps: Steps
    """Retrievals in a row; the last one returns values, those before it keys."""
    beta: Beta = 1.0
    """Inverse temperature in units of 1 / sqrt(head_dim); where a learned one starts."""
    beta_form: BetaForm = "fixed"
    """Whether beta stays as it is, or is learned from there: one, or one for each head."""
    position: "AnyPosition" = Rotary()

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        return (
            linear("query", "x", at.dim, width),
            linear("key", "x", at.dim, width),
            linear("value", "x", at.dim, width),
            Op(
                "retrieve",
                ("query", "key", "value"),
                (width,),
                "attention",
                expects=((width,), (width,), (width,)),
                params=beta_params(self.beta_form, self.heads),
                flops=self.steps * 4 * width * context,
            ),
            linear("out", "retrieve", width, at.dim),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(2 * self.heads * self.head_dim)

    def plan(self, at: Place) -> Call:
        shape = HeadShape(self.heads, self.heads, self.head_dim, self.head_dim)
        return Call(
            f"{_MODULE}:HopfieldAssociation",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "steps": self.steps,
                "beta": beta_plan(self.beta, self.beta_form, self.heads),
                "position": self.position.plan(at),
                "scope": Everything().attend_plan(at, shape, Softmax()),
            },
        )


def beta_params(form: BetaForm, heads: int) -> int:
    """Learned betas."""
    return {"fixed": 0, "learned": 1, "per_head": heads}[form]


def beta_plan(beta: float, form: BetaForm, heads: int) -> Call:
    """The module that multiplies by beta."""
    if form == "fixed":
        return Call(f"{_MODULE}:FixedBeta", {"beta": beta})
    return Call(f"{_MODULE}:LearnedBeta", {"beta": beta, "heads": beta_params(form, heads)})
