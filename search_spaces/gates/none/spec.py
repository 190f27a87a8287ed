"""No gate."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Gate, Place, Source
from nas.search_spaces.ops import Ops


class NoGate(Gate):
    """Nothing is gated, as in the first transformer."""

    papers = (Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),)
    example = {"kind": "none"}
    absent = True

    kind: Literal["none"] = "none"

    def gates(self, what: str) -> bool:
        return False

    def gate_ops(self, at: Place, name: str, heads: int, width: int) -> Ops:
        return ()

    def gate_plan(self, at: Place, heads: int, width: int) -> Call:
        return Call("nas.search_spaces.gates.none.module:Ungated")
