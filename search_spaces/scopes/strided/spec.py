"""A query sees what is near, and every so many-th token beyond."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Place, Source
from nas.search_spaces.ops import shared
from nas.search_spaces.pieces.attend.spec import MaskScope

_MODULE = "nas.search_spaces.scopes.strided.module"


class Strided(MaskScope):
    """The last `stride` tokens and, however far back, every `stride`-th; in an encoder on both
    sides. All pairs are computed and masked, so the work is that of full attention."""

    papers = (
        Source(
            "Generating Long Sequences with Sparse Transformers",
            "https://arxiv.org/abs/1904.10509",
            "the fixed pattern, and the two halves of the pattern in heads of their own",
        ),
        Source("Efficient Transformers: A Survey", "https://arxiv.org/abs/2009.06732"),
    )
    example = {"kind": "strided", "stride": 8}
    sparse: ClassVar[bool] = True

    kind: Literal["strided"] = "strided"
    stride: Count
    """Tokens seen in full, and from one to the next of those beyond."""

    def mask_scratch(self, at: Place, keys: int) -> int:
        return shared(2 * 2 * keys)  # distances and their remainders, eight bytes each

    def mask_plan(self, at: Place) -> Call:
        name = "StridedUpToNow" if at.causal else "StridedBothWays"
        return Call(f"{_MODULE}:{name}", {"stride": self.stride})
