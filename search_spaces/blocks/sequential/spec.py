"""Mixer, then FFN."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import Block, Place, Source
from nas.search_spaces.ops import Ops, output, scope
from nas.search_spaces.residuals.pre_norm.spec import PreNorm

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyResidual


class Sequential(Block):
    """The mixer's residual, then the FFN's."""

    papers = (Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),)
    example = {"kind": "sequential"}
    variants = (
        {"kind": "sequential", "residual": {"kind": "post_norm"}},
        {"kind": "sequential", "residual": {"kind": "sandwich"}},
    )

    kind: Literal["sequential"] = "sequential"
    residual: "AnyResidual" = PreNorm()

    def join_ops(self, at: Place, context: int, mixer: Ops, ffn: Ops) -> Ops:
        first = scope(self.residual.wrap_ops(at, context, mixer), "mixer", "x")
        second = scope(self.residual.wrap_ops(at, context, ffn), "ffn", output(first))
        return (*first, *second)

    def join_plan(self, at: Place, mixer: Call, ffn: Call) -> Call:
        return Call(
            "nas.search_spaces.blocks.sequential.module:SequentialBlock",
            {
                "mixer": self.residual.wrap_plan(at, mixer),
                "ffn": self.residual.wrap_plan(at, ffn),
            },
        )
