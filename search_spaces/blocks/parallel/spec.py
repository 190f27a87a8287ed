"""Mixer and FFN side by side."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import NOTHING, Block, Place, Source
from nas.search_spaces.ops import Ops, elementwise, output, scope
from nas.search_spaces.residuals.pre_norm.spec import PreNorm

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyResidual


class Parallel(Block):
    """One residual around the sum of mixer and FFN, which read the same input."""

    papers = (
        Source("PaLM: Scaling Language Modeling with Pathways", "https://arxiv.org/abs/2204.02311"),
    )
    example = {"kind": "parallel"}
    variants = (
        {"kind": "parallel", "residual": {"kind": "post_norm"}},
        {"kind": "parallel", "residual": {"kind": "sandwich"}},
    )

    kind: Literal["parallel"] = "parallel"
    residual: "AnyResidual" = PreNorm()

    def join_ops(self, at: Place, context: int, mixer: Ops | None, ffn: Ops | None) -> Ops:
        if mixer is None or ffn is None:  # nothing stands beside the only sublayer
            alone = ffn if mixer is None else mixer
            return () if alone is None else self.residual.wrap_ops(at, context, alone)
        left, right = scope(mixer, "mixer", "x"), scope(ffn, "ffn", "x")
        total = elementwise("sum", (output(left), output(right)), at.dim)
        return self.residual.wrap_ops(at, context, (*left, *right, total))

    def join_plan(self, at: Place, mixer: Call | None, ffn: Call | None) -> Call:
        if mixer is None or ffn is None:
            alone = mixer or ffn
            return NOTHING if alone is None else self.residual.wrap_plan(at, alone)
        both = Call(
            "nas.search_spaces.blocks.parallel.module:SideBySide", {"mixer": mixer, "ffn": ffn}
        )
        return self.residual.wrap_plan(at, both)
