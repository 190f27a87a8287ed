"""Several mixers side by side on the same input."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Composite, Memory, Place, Source
from nas.search_spaces.ops import Op, Ops, output, scope
from nas.search_spaces.pieces.branches.spec import memory_of_all

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnySimpleMixer

_MODULE = "nas.search_spaces.mixers.sum.module"


class Sum(Composite):
    """Two to five mixers read the same tokens; their outputs are summed, averaged, or weighed by
    learned numbers."""

    papers = (
        Source(
            "Heterogeneous Encoders Scaling In The Transformer For Neural Machine Translation",
            "https://arxiv.org/abs/2312.15872",
            "the choice of pairs by measured synergy, which is the search's work here",
        ),
        Source(
            "Conformer: Convolution-augmented Transformer for Speech Recognition",
            "https://arxiv.org/abs/2005.08100",
        ),
    )
    example = {
        "kind": "sum",
        "branches": [
            {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 16},
            {"kind": "identity"},
        ],
    }
    variants = (
        {
            "kind": "sum",
            "branches": [
                {
                    "kind": "attention",
                    "heads": 2,
                    "groups": 2,
                    "head_dim": 8,
                    "scope": {"kind": "window", "window": 16},
                },
                {"kind": "attention", "heads": 1, "groups": 1, "head_dim": 16},
            ],
            "mixture": "learned",
        },
        {
            "kind": "sum",
            "branches": [
                {"kind": "gated_linear", "heads": 2, "head_dim": 8},
                {"kind": "attention", "heads": 1, "groups": 1, "head_dim": 16},
            ],
            "mixture": "mean",
        },
    )
    families = FAMILIES

    kind: Literal["sum"] = "sum"
    branches: "Annotated[tuple[AnySimpleMixer, ...], Field(min_length=2, max_length=5)]"
    mixture: Literal["sum", "mean", "learned"] = "sum"
    """How outputs are put together; ``learned`` is a share for each branch and channel, equal at
    first and always adding up to one."""

    def ops(self, at: Place, context: int) -> Ops:
        ops: Ops = ()
        ends = []
        for index, branch in enumerate(self.branches):
            inner = scope(branch.ops(at, context), f"branches.{index}", "x")
            ops = (*ops, *inner)
            ends.append(output(inner))
        shares = len(ends) * at.dim if self.mixture == "learned" else 0
        widths = tuple((at.dim,) for _ in ends)
        return (*ops, Op("mixture", tuple(ends), (at.dim,), expects=widths, params=shares))

    def memory(self, at: Place) -> Memory:
        return memory_of_all(self.branches, at)

    def plan(self, at: Place) -> Call:
        mixture = Call(f"{_MODULE}:{self.mixture.title()}")
        if self.mixture == "learned":
            arguments = {"branches": len(self.branches), "dim": at.dim}
            mixture = Call(f"{_MODULE}:Learned", arguments)
        branches = tuple(branch.plan(at) for branch in self.branches)
        return Call(f"{_MODULE}:SideBySideMixers", {"branches": branches, "mixture": mixture})
