"""Sandwich (peri) norm residual."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import Place, Residual, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm


class Sandwich(Residual):
    """x + norm(inner(norm(x))): a norm before and after each sublayer."""

    papers = (
        Source(
            "Peri-LN: Revisiting Layer Normalization in the Transformer Architecture",
            "https://arxiv.org/abs/2502.02732",
        ),
    )
    example = {"kind": "sandwich"}
    variants = ({"kind": "sandwich", "norm": {"kind": "layer"}},)

    kind: Literal["sandwich"] = "sandwich"
    norm: "AnyNorm" = RMS()

    def wrap_ops(self, at: Place, context: int, inner: Ops) -> Ops:
        before = scope(self.norm.ops(at, context), "before", "x")
        body = scope(inner, "inner", output(before))
        inside = output(body, output(before))
        after = scope(self.norm.ops(at, context), "after", inside)
        return (*before, *body, *after, elementwise("add", ("x", output(after, inside)), at.dim))

    def wrap_plan(self, at: Place, inner: Call) -> Call:
        return Call(
            "nas.search_spaces.residuals.sandwich.module:Sandwich",
            {"before": self.norm.plan(at), "inner": inner, "after": self.norm.plan(at)},
        )
