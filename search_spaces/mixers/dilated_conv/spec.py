"""A stack of dilated convolutions, as in a temporal convolutional network."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Condition, Flag, Memory, Mixer, Place, Rule, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.mixers.dilated_conv.module"
_FURTHEST = 1 << 20

TapCount = Annotated[int, Field(strict=True, ge=2, le=256)]
"""Tokens that one convolution sees."""
StackDepth = Annotated[int, Field(strict=True, ge=1, le=16)]
"""Convolutions one after another."""
DilationFactor = Annotated[int, Field(strict=True, ge=1, le=16)]
"""How much further apart the tokens are that the next convolution sees."""


def conv_op(name: str, reads: str, channels: int, out: int, width: int, groups: int = 1) -> Op:
    """A convolution along the sequence with a bias: 2 x width x out x channels / groups FLOPs for
    each token."""
    weights = out * (channels // groups) * width
    return Op(
        name,
        (reads,),
        (out,),
        "convolution",
        expects=((channels,),),
        params=weights + out,
        flops=2 * weights,
    )


def conv_plan(
    at: Place, channels: int, out: int, width: int, *, dilation: int = 1, groups: int = 1
) -> Call:
    """A convolution over the past, or over both sides in an encoder."""
    name = "TrailingConv" if at.causal else "CentredConv"
    numbers = {"channels": channels, "out": out, "width": width}
    return Call(f"{_MODULE}:{name}", {**numbers, "dilation": dilation, "groups": groups})


class Dilations:
    """The numbers of a stack of convolutions over `channels`: layer i sees `width` tokens that are
    factor^i apart."""

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        layers: int,
        factor: int,
        depthwise: bool,
        residual: bool,
    ) -> None:
        self.channels = channels
        self.width = width
        self.spacings = tuple(factor**layer for layer in range(layers))
        self.groups = channels if depthwise else 1
        self.residual = residual

    def ops(self) -> Ops:
        """The stack as operators."""
        found: list[Op] = []
        before = "x"
        for i in range(len(self.spacings)):
            conv = (self.channels, self.channels, self.width, self.groups)
            found.append(conv_op(f"conv_{i}", before, *conv))
            found.append(elementwise(f"relu_{i}", (f"conv_{i}",), self.channels))
            if self.residual:
                found.append(elementwise(f"add_{i}", (before, f"relu_{i}"), self.channels))
            before = found[-1].name
        return tuple(found)

    @property
    def state(self) -> int:
        """Values that decoding carries."""
        return self.channels * (self.width - 1) * sum(self.spacings)

    def plan(self, at: Place) -> Call:
        """How the stack is built."""
        layer = "ResidualReluConv" if self.residual else "ReluConv"
        layers = tuple(
            Call(f"{_MODULE}:{layer}", {"conv": self._conv_plan(at, spacing)})
            for spacing in self.spacings
        )
        return Call(f"{_MODULE}:ConvStack", {"layers": layers})

    def _conv_plan(self, at: Place, spacing: int) -> Call:
        size = (self.channels, self.channels, self.width)
        return conv_plan(at, *size, dilation=spacing, groups=self.groups)


class DilatedConv(Mixer):
    """Convolutions one after another, each over tokens further apart than the one before. It finds
    nothing that lies further back than its reach."""

    papers = (
        Source(
            "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence "
            "Modeling",
            "https://arxiv.org/abs/1803.01271",
            "weight norm, dropout and the second convolution of each block",
        ),
    )
    example = {"kind": "dilated_conv", "width": 3, "layers": 3}
    variants = (
        {
            "kind": "dilated_conv",
            "width": 4,
            "layers": 2,
            "dilation_factor": 3,
            "depthwise": False,
            "residual": False,
        },
        {"kind": "dilated_conv", "width": 2, "layers": 1},
    )
    rules = (
        Rule(
            ("width", "layers", "dilation_factor"),
            lambda width, layers, factor: (width - 1) * factor ** (layers - 1) < _FURTHEST,
            f"(width - 1) * dilation_factor ** (layers - 1) must be below {_FURTHEST}",
        ),
    )
    conditions = (
        Condition(
            "dilation_factor",
            "layers",
            lambda layers: layers > 1,
            "dilation_factor is for several layers",
        ),
    )
    families = FAMILIES

    kind: Literal["dilated_conv"] = "dilated_conv"
    width: TapCount
    """Tokens that one convolution sees."""
    layers: StackDepth
    """Convolutions."""
    dilation_factor: DilationFactor = 2
    """Spacing of the tokens that a convolution sees, over that of the convolution before."""
    depthwise: Flag = True
    """Each channel over its own values only, instead of over all channels."""
    residual: Flag = True
    """Each convolution adds to its input."""

    def _stack(self, at: Place) -> Dilations:
        return Dilations(
            channels=at.dim,
            width=self.width,
            layers=self.layers,
            factor=self.dilation_factor,
            depthwise=self.depthwise,
            residual=self.residual,
        )

    def ops(self, at: Place, context: int) -> Ops:
        stack = self._stack(at).ops()
        return (*stack, linear("out", stack[-1].name, at.dim, at.dim))

    def memory(self, at: Place) -> Memory:
        return Memory(state=self._stack(at).state)

    def plan(self, at: Place) -> Call:
        stack = self._stack(at).plan(at)
        return Call(f"{_MODULE}:DilatedConv", {"dim": at.dim, "stack": stack})
