"""Mixer, then FFN."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import NOTHING, Block, Place, Source
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

    def join_ops(self, at: Place, context: int, mixer: Ops | None, ffn: Ops | None) -> Ops:
        ops: Ops = ()
        for name, inner in (("mixer", mixer), ("ffn", ffn)):
            if inner is not None:
                wrapped = self.residual.wrap_ops(at, context, inner)
                ops = (*ops, *scope(wrapped, name, output(ops)))
        return ops

    def join_plan(self, at: Place, mixer: Call | None, ffn: Call | None) -> Call:
        if mixer is None or ffn is None:  # the block is its only sublayer
            alone = mixer or ffn
            return NOTHING if alone is None else self.residual.wrap_plan(at, alone)
        return Call(
            "nas.search_spaces.blocks.sequential.module:SequentialBlock",
            {
                "mixer": self.residual.wrap_plan(at, mixer),
                "ffn": self.residual.wrap_plan(at, ffn),
            },
        )
