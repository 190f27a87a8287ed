"""Residual that normalises what a sublayer adds."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import Place, Residual, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm


class PostSublayer(Residual):
    """x + norm(inner(x)): the stream itself is never normalised, only what is added to it."""

    papers = (
        Source("2 OLMo 2 Furious", "https://arxiv.org/abs/2501.00656"),
        Source(
            "Swin Transformer V2: Scaling Up Capacity and Resolution",
            "https://arxiv.org/abs/2111.09883",
            "the extra norm on the stream after every sixth layer of the largest model",
        ),
    )
    example = {"kind": "post_sublayer"}
    variants = ({"kind": "post_sublayer", "norm": {"kind": "layer"}},)

    kind: Literal["post_sublayer"] = "post_sublayer"
    norm: "AnyNorm" = RMS()

    def wrap_ops(self, at: Place, context: int, inner: Ops) -> Ops:
        body = scope(inner, "inner", "x")
        norm = scope(self.norm.ops(at, context), "norm", output(body))
        add = elementwise("add", ("x", output(norm, output(body))), at.dim)
        return (*body, *norm, add)

    def wrap_plan(self, at: Place, inner: Call) -> Call:
        return Call(
            "nas.search_spaces.residuals.post_sublayer.module:PostSublayer",
            {"inner": inner, "norm": self.norm.plan(at)},
        )
