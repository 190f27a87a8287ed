"""Softmax of scores that cannot leave a range."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class SoftCap(Normaliser):
    """Softmax of cap x tanh(score / cap): no score exceeds the cap."""

    papers = (
        Source(
            "Gemma 2: Improving Open Language Models at a Practical Size",
            "https://arxiv.org/abs/2408.00118",
        ),
    )
    example = {"kind": "soft_cap"}
    variants = ({"kind": "soft_cap", "cap": 2.0},)

    kind: Literal["soft_cap"] = "soft_cap"
    cap: Annotated[float, Field(gt=0.0, le=1e4)] = 50.0
    """Scores stay between -cap and cap."""

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call("nas.search_spaces.normalisers.soft_cap.module:SoftCap", {"cap": self.cap})
