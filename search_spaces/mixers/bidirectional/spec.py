"""A mixer that runs from left to right, run in both directions."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Composite, Flag, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnySimpleMixer

_MODULE = "nas.search_spaces.mixers.bidirectional.module"


class Bidirectional(Composite):
    """The sum of a mixer on the sequence and of one on the sequence reversed: how a recurrence sees
    both sides of a token."""

    papers = (
        Source("Bidirectional Recurrent Neural Networks", "https://doi.org/10.1109/78.650093"),
        Source(
            "Heterogeneous Encoders Scaling In The Transformer For Neural Machine Translation",
            "https://arxiv.org/abs/2312.15872",
            "the choice of pairs by measured synergy, which is the search's work here",
        ),
    )
    example = {
        "kind": "bidirectional",
        "mixer": {"kind": "gated_linear", "heads": 4, "head_dim": 16},
    }
    variants = (
        {
            "kind": "bidirectional",
            "mixer": {"kind": "gated_linear", "heads": 2, "head_dim": 8},
            "shared": True,
        },
    )
    families = ("encoder",)
    family_inside: ClassVar[str] = "causal_lm"
    family_reason: ClassVar[str] = "its reversed half reads later tokens"

    kind: Literal["bidirectional"] = "bidirectional"
    mixer: "AnySimpleMixer"
    shared: Flag = False
    """Whether both directions have the same weights."""

    def ops(self, at: Place, context: int) -> Ops:
        inner = self.mixer.ops(at._replace(causal=True), context)
        forward = scope(inner, "ahead", "x")
        back = scope(inner, "back", "x")
        if self.shared:
            back = tuple(_without_params(op) for op in back)
        add = elementwise("add", (output(forward), output(back)), at.dim)
        return (*forward, *back, add)

    def plan(self, at: Place) -> Call:
        inner = self.mixer.plan(at._replace(causal=True))
        if self.shared:
            return Call(f"{_MODULE}:BothWaysShared", {"mixer": inner})
        return Call(f"{_MODULE}:Bidirectional", {"ahead": inner, "back": inner})


def _without_params(op: Op) -> Op:
    """The same work with weights that are counted elsewhere."""
    return replace(op, params=0, active_params=None)
