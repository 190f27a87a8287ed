"""Pre-norm residual."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import Place, Residual, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm


class PreNorm(Residual):
    """x + inner(norm(x))."""

    papers = (
        Source(
            "On Layer Normalization in the Transformer Architecture",
            "https://arxiv.org/abs/2002.04745",
        ),
    )
    example = {"kind": "pre_norm"}
    variants = ({"kind": "pre_norm", "norm": {"kind": "layer"}},)

    kind: Literal["pre_norm"] = "pre_norm"
    norm: "AnyNorm" = RMS()

    def wrap_ops(self, at: Place, context: int, inner: Ops) -> Ops:
        norm = scope(self.norm.ops(at, context), "norm", "x")
        body = scope(inner, "inner", output(norm))
        add = elementwise("add", ("x", output(body, output(norm))), at.dim)
        return (*norm, *body, add)

    def wrap_plan(self, at: Place, inner: Call) -> Call:
        return Call(
            "nas.search_spaces.residuals.pre_norm.module:PreNorm",
            {"norm": self.norm.plan(at), "inner": inner},
        )
