"""Post-norm residual."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import Place, Residual, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm


class PostNorm(Residual):
    """norm(x + inner(x))."""

    papers = (Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),)
    example = {"kind": "post_norm"}
    variants = ({"kind": "post_norm", "norm": {"kind": "layer"}},)

    kind: Literal["post_norm"] = "post_norm"
    norm: "AnyNorm" = RMS()

    def wrap_ops(self, at: Place, context: int, inner: Ops) -> Ops:
        body = scope(inner, "inner", "x")
        add = elementwise("add", ("x", output(body)), at.dim)
        return (*body, add, *scope(self.norm.ops(at, context), "norm", "add"))

    def wrap_plan(self, at: Place, inner: Call) -> Call:
        return Call(
            "nas.search_spaces.residuals.post_norm.module:PostNorm",
            {"norm": self.norm.plan(at), "inner": inner},
        )
