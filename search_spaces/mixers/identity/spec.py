"""No mixing: the control of every mixer study."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Mixer, Place, Source
from nas.search_spaces.ops import Ops


class Identity(Mixer):
    """Returns its input. A task on which it ranks high measures no mixing."""

    papers = (
        Source(
            "MetaFormer Is Actually What You Need for Vision", "https://arxiv.org/abs/2111.11418"
        ),
    )
    example = {"kind": "identity"}
    families = FAMILIES

    kind: Literal["identity"] = "identity"

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return Call("nas.search_spaces.mixers.identity.module:Identity")
