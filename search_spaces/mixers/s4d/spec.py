"""S4D: a diagonal state space whose dynamics do not depend on the token."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Flag, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear, shared

_MODULE = "nas.search_spaces.mixers.s4d.module"
_LINEAR = "torch.nn:Linear"


class S4D(Mixer):
    """Every channel passes a linear filter made of a few fading modes, then channels are mixed. It
    weighs what came before by its distance alone."""

    papers = (
        Source(
            "On the Parameterization and Initialization of Diagonal State Space Models",
            "https://arxiv.org/abs/2206.11893",
            "the starts S4D-LegS and random, the bilinear transform, and inputs other than one",
        ),
    )
    example = {"kind": "s4d", "states": 16}
    variants = (
        {"kind": "s4d", "states": 8, "start": "inverse"},
        {"kind": "s4d", "states": 6, "start": "real", "glu": False},
    )

    kind: Literal["s4d"] = "s4d"
    states: Annotated[int, Field(strict=True, ge=2, le=4096, multiple_of=2)] = 64
    """Values held for each channel: conjugate pairs of modes, or that many real ones."""
    start: Literal["linear", "inverse", "real"] = "linear"
    """Frequencies at the start: S4D-Lin, S4D-Inv, or modes that only fade (S4D-Real)."""
    glu: Flag = True
    """Mixes channels through a gated linear unit, else by a plain projection."""

    def ops(self, at: Place, context: int) -> Ops:
        width = 2 * at.dim if self.glu else at.dim
        mix = linear("mix", "gelu", at.dim, width, bias=True)
        glu = (Op("glu", ("mix",), (at.dim,), expects=((width,),)),) if self.glu else ()
        return (
            Op(
                "filter",
                ("x",),
                (at.dim,),
                "convolution",
                expects=((at.dim,),),
                params=self._mode_params(at),
                # spectra of twice the length; or exponents and powers of all modes
                scratch=max(4 * at.dim, shared(2 * at.dim * self.states)),
            ),
            elementwise("skip", ("filter", "x"), at.dim, params=at.dim),
            elementwise("gelu", ("skip",), at.dim),
            mix,
            *glu,
        )

    def _mode_params(self, at: Place) -> int:
        """A step size per channel, and rate and reading of each mode."""
        return at.dim * (1 + 2 * self.states)

    def memory(self, at: Place) -> Memory:
        return Memory(state=at.dim * self.states)

    def plan(self, at: Place) -> Call:
        mix = {"in_features": at.dim, "out_features": at.dim}
        glu = Call(f"{_MODULE}:GLUMix", {"dim": at.dim})
        return Call(
            f"{_MODULE}:S4D",
            {
                "dim": at.dim,
                "modes": self._modes_plan(at),
                "mix": glu if self.glu else Call(_LINEAR, mix),
            },
        )

    def _modes_plan(self, at: Place) -> Call:
        numbers: dict[str, Any] = {"dim": at.dim, "modes": self.states}
        if self.start == "real":
            return Call(f"{_MODULE}:RealModes", numbers)
        numbers |= {"modes": self.states // 2, "start": self.start}
        return Call(f"{_MODULE}:ComplexModes", numbers)
