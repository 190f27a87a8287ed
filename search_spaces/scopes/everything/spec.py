"""A query sees every key."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import HeadShape, Normaliser, Place, Source
from nas.search_spaces.pieces.attend.spec import MaskScope, weighted_plan

_MODULE = "nas.search_spaces.scopes.everything.module"


class Everything(MaskScope):
    """All tokens before a query and itself; in an encoder, all tokens."""

    papers = (Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),)
    example = {"kind": "everything"}

    kind: Literal["everything"] = "everything"

    def mask_plan(self, at: Place) -> Call:
        return Call(f"{_MODULE}:{'UpToNow' if at.causal else 'AllTokens'}")

    def mask_scratch(self, at: Place, keys: int) -> int:
        return 0  # softmax needs no mask for this

    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        if normaliser.kind != "softmax":
            return weighted_plan(self.mask_plan(at), shape, normaliser, at)
        return Call(f"{_MODULE}:{'Everything' if at.causal else 'BothWays'}")
