"""The squared entries of an orthogonal matrix."""

from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Normaliser, Place, Source


class QrSquared(Normaliser):
    """Squares of the orthogonal factor of the scores: rows and columns sum to one, exactly."""

    papers = (
        Source(
            "Quantum Doubly Stochastic Transformers",
            "https://arxiv.org/abs/2504.16275",
            left_out="the quantum circuit",
        ),
    )
    example = {"kind": "qr_squared"}
    families = ("encoder",)
    family_reason = "the factor of the scores depends on all of them, those of later tokens too"

    copies: ClassVar[int] = 3  # the matrix, its factor and what the factorisation works on

    kind: Literal["qr_squared"] = "qr_squared"

    def weights_plan(self, at: Place, heads: int) -> Call:
        return Call("nas.search_spaces.normalisers.qr_squared.module:QrSquared")
