"""Half an FFN before the mixer and half an FFN after it."""

from typing import TYPE_CHECKING, Literal

from nas.plan import Call
from nas.search_spaces.base import NOTHING, Block, Place, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm

_MODULE = "nas.search_spaces.blocks.macaron.module"


class Macaron(Block):
    """x + ffn/2, then the mixer, then another ffn/2, then a norm. Both FFNs are of the layer's FFN,
    with weights of their own."""

    papers = (
        Source(
            "Understanding and Improving Transformer From a Multi-Particle Dynamic System Point of "
            "View",
            "https://arxiv.org/abs/1906.02762",
        ),
        Source(
            "Conformer: Convolution-augmented Transformer for Speech Recognition",
            "https://arxiv.org/abs/2005.08100",
            "relative-position attention and batch norm",
        ),
    )
    example = {"kind": "macaron"}
    variants = ({"kind": "macaron", "norm": {"kind": "layer"}},)

    kind: Literal["macaron"] = "macaron"
    norm: "AnyNorm" = RMS()
    """Before each sublayer and after the last."""

    def join_ops(self, at: Place, context: int, mixer: Ops | None, ffn: Ops | None) -> Ops:
        ops: Ops = ()
        for name, inner in (("first", ffn), ("mixer", mixer), ("second", ffn)):
            if inner is None:
                continue
            stream = output(ops)
            norm = scope(self.norm.ops(at, context), f"{name}.norm", stream)
            body = scope(inner, f"{name}.inner", output(norm))
            add = elementwise(f"{name}.add", (stream, output(body, output(norm))), at.dim)
            ops = (*ops, *norm, *body, add)
        return (*ops, *scope(self.norm.ops(at, context), "norm", output(ops))) if ops else ()

    def join_plan(self, at: Place, mixer: Call | None, ffn: Call | None) -> Call:
        sublayers = [("first", ffn, 0.5), ("mixer", mixer, 1.0), ("second", ffn, 0.5)]
        present = [(inner, share) for _, inner, share in sublayers if inner is not None]
        if not present:
            return NOTHING
        wrapped = tuple(
            Call(
                f"{_MODULE}:Share",
                {"norm": self.norm.plan(at), "inner": inner, "share": share},
            )
            for inner, share in present
        )
        return Call(f"{_MODULE}:Macaron", {"sublayers": wrapped, "norm": self.norm.plan(at)})
