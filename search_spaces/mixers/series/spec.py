"""Several mixers one after the other in one layer."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Composite, Memory, Place, Source
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Ops, elementwise, output, scope
from nas.search_spaces.pieces.branches.spec import memory_of_all

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm, AnySimpleMixer


class Series(Composite):
    """Mixers in a row, each with a residual of its own: attention and then convolution, or the
    other way round."""

    papers = (
        Source(
            "Conformer: Convolution-augmented Transformer for Speech Recognition",
            "https://arxiv.org/abs/2005.08100",
        ),
    )
    example = {
        "kind": "series",
        "stages": [
            {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 16},
            {"kind": "identity"},
        ],
    }
    variants = (
        {
            "kind": "series",
            "stages": [
                {"kind": "identity"},
                {"kind": "attention", "heads": 2, "groups": 2, "head_dim": 8},
                {"kind": "attention", "heads": 1, "groups": 1, "head_dim": 16},
            ],
            "norm": {"kind": "layer"},
        },
    )
    families = FAMILIES

    kind: Literal["series"] = "series"
    stages: "Annotated[tuple[AnySimpleMixer, ...], Field(min_length=2, max_length=4)]"
    norm: "AnyNorm" = RMS()
    """Before each stage but the first, which reads what the layer has normalised."""

    def ops(self, at: Place, context: int) -> Ops:
        ops: Ops = scope(self.stages[0].ops(at, context), "stages.0", "x")
        total = output(ops)
        for index, stage in enumerate(self.stages[1:], start=1):
            ops = (*ops, elementwise(f"residual.{index}", ("x", total), at.dim))
            norm = scope(self.norm.ops(at, context), f"norms.{index - 1}", output(ops))
            ops = (*ops, *norm)
            ops = (*ops, *scope(stage.ops(at, context), f"stages.{index}", output(ops)))
            ops = (*ops, elementwise(f"add.{index}", (total, output(ops)), at.dim))
            total = output(ops)
        return ops

    def memory(self, at: Place) -> Memory:
        return memory_of_all(self.stages, at)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.series.module:Series",
            {
                "stages": tuple(stage.plan(at) for stage in self.stages),
                "norms": tuple(self.norm.plan(at) for _ in self.stages[1:]),
            },
        )
