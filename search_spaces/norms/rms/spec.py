"""Root-mean-square normalisation."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Norm, Place, Source
from nas.search_spaces.ops import Ops, elementwise


class RMS(Norm):
    """x / rms(x) * weight."""

    papers = (Source("Root Mean Square Layer Normalization", "https://arxiv.org/abs/1910.07467"),)
    example = {"kind": "rms"}

    kind: Literal["rms"] = "rms"

    def ops(self, at: Place, context: int) -> Ops:
        return (elementwise("rms", ("x",), at.dim, params=at.dim),)

    def plan(self, at: Place) -> Call:
        return Call("nas.search_spaces.norms.rms.module:RMSNorm", {"dim": at.dim})
