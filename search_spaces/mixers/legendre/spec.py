"""Legendre memory unit: fixed dynamics that hold a sliding window as Legendre coefficients."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear

CHUNK = 16
"""As in the module; a test holds the two together."""
_ACTIVATIONS = {"relu": "torch.nn:ReLU", "gelu": "torch.nn:GELU", "identity": "torch.nn:Identity"}
Activation = Literal["relu", "gelu", "identity"]


class Legendre(Mixer):
    """A few signals taken from the input are remembered over a window of theta tokens, by dynamics
    that are fixed and not learned; only what goes in and how it is read is learned."""

    papers = (
        Source(
            "LMUFormer: Low Complexity Yet Powerful Spiking Model With Legendre Memory Units",
            "https://arxiv.org/abs/2402.04882",
            "spiking neurons, batch norms, and the convolutions around it, which are other parts",
        ),
        Source(
            "Parallelizing Legendre Memory Unit Training",
            "https://arxiv.org/abs/2102.11417",
        ),
    )
    example = {"kind": "legendre", "signals": 8, "order": 8, "theta": 32.0}
    variants = (
        {
            "kind": "legendre",
            "signals": 1,
            "order": 5,
            "theta": 100.0,
            "encode_activation": "identity",
            "activation": "relu",
        },
        {"kind": "legendre", "signals": 3, "encode_activation": "gelu", "activation": "identity"},
    )

    kind: Literal["legendre"] = "legendre"
    signals: Count
    """Numbers of each token that are remembered; one in the papers."""
    order: Annotated[int, Field(strict=True, ge=1, le=256)] = 32
    """Legendre polynomials, so that detail down to about theta / order tokens is kept."""
    theta: Annotated[float, Field(ge=1.0, le=1e6)] = 128.0
    """Length of the window in tokens."""
    encode_activation: Activation = "relu"
    """Applied to what goes in."""
    activation: Activation = "gelu"
    """Applied to what is read."""

    def ops(self, at: Place, context: int) -> Ops:
        return (
            linear("encode", "x", at.dim, self.signals, bias=True),
            elementwise("encode_activation", ("encode",), self.signals),
            self._memory(context),
            linear("read", "memory", self.signals * self.order, at.dim),
            linear("pass_on", "x", at.dim, at.dim, bias=True),
            elementwise("activation", ("read", "pass_on"), at.dim),
            linear("out", "activation", at.dim, at.dim),
        )

    def _memory(self, context: int) -> Op:
        """Inputs of a chunk to its memories, and the memory before it to all of them."""
        chunk = min(context, CHUNK)
        held = self.signals * self.order
        return Op(
            "memory",
            ("encode_activation",),
            (held,),
            "recurrence",
            expects=((self.signals,),),
            flops=2 * held * (chunk + self.order),
            decode_flops=2 * held * (1 + self.order),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=self.signals * self.order)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.legendre.module:Legendre",
            {
                "dim": at.dim,
                "signals": self.signals,
                "order": self.order,
                "theta": self.theta,
                "encode_activation": Call(_ACTIVATIONS[self.encode_activation]),
                "activation": Call(_ACTIVATIONS[self.activation]),
            },
        )
