"""Softmax over the visible keys."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class Softmax(Normaliser):
    """exp(score), divided by the sum over the keys that a query sees."""

    papers = (Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),)
    example = {"kind": "softmax"}

    kind: Literal["softmax"] = "softmax"

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call("nas.search_spaces.normalisers.softmax.module:Softmax")
