"""An even power of each score, divided by the sum."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class Power(Normaliser):
    """score^p / sum of score^p with an even p: polynomials but for one division."""

    papers = (
        Source(
            "Power-Softmax: Towards Secure LLM Inference over Encrypted Data",
            "https://arxiv.org/abs/2410.09457",
            left_out="the polynomial that replaces the division for encrypted inference",
        ),
    )
    example = {"kind": "power"}
    variants = ({"kind": "power", "power": 4},)

    kind: Literal["power"] = "power"
    power: Annotated[int, Field(strict=True, ge=2, le=16, multiple_of=2)] = 2
    """The even exponent p; a larger one makes weights more pointed."""

    def weights_plan(self, at: Place, heads: int) -> Call:
        module = "nas.search_spaces.normalisers.power.module:PowerWeights"
        return Call(module, {"power": self.power})
