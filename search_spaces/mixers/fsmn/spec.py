"""MossFormer2's companion of attention: a gated unit with a dilated depthwise memory."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Rule, Source
from nas.search_spaces.mixers.dilated_conv.spec import (
    DilationFactor,
    StackDepth,
    TapCount,
    conv_op,
    conv_plan,
)
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.mixers.fsmn.module"
_FURTHEST = 1 << 20


class Fsmn(Mixer):
    """Two convolved branches at a narrower width: one passes a memory of dilated depthwise
    convolutions, the other is its gate. It sees no further than the convolutions."""

    papers = (
        Source(
            "MossFormer2: Combining Transformer and RNN-Free Recurrent Network for Enhanced "
            "Time-Domain Monaural Speech Separation",
            "https://arxiv.org/abs/2312.11825",
            "the gated attention beside it, which is a mixer of its own, and the recurrent variant",
        ),
    )
    example = {"kind": "fsmn", "inner": 24}
    variants = (
        {
            "kind": "fsmn",
            "inner": 16,
            "conv_width": 4,
            "memory_width": 3,
            "layers": 3,
            "dilation_factor": 1,
        },
    )
    rules = (
        Rule(
            ("memory_width", "layers", "dilation_factor"),
            lambda width, layers, factor: (width - 1) * factor ** (layers - 1) < _FURTHEST,
            f"(memory_width - 1) * dilation_factor ** (layers - 1) must be below {_FURTHEST}",
        ),
    )
    families = FAMILIES

    kind: Literal["fsmn"] = "fsmn"
    inner: Count
    """Channels of both branches; the paper has half of the width."""
    conv_width: TapCount = 17
    """Tokens that the convolution of each branch sees."""
    memory_width: TapCount = 20
    """Tokens that a convolution of the memory sees; on each side in an encoder."""
    layers: StackDepth = 2
    """Convolutions of the memory, each over what all before it made."""
    dilation_factor: DilationFactor = 2
    """Spacing of the tokens that a convolution of the memory sees, over that of the one before."""

    def _spacings(self) -> tuple[int, ...]:
        return tuple(self.dilation_factor**layer for layer in range(self.layers))

    def _memory_taps(self, at: Place) -> int:
        return self.memory_width if at.causal else 2 * self.memory_width - 1

    def ops(self, at: Place, context: int) -> Ops:
        inner = self.inner
        return (
            linear("narrow", "x", at.dim, inner, bias=True),
            elementwise("norm", ("narrow",), inner, params=inner),
            *self._unit("kept"),
            *self._unit("gate"),
            *self._memory_ops(at),
            elementwise("gated", ("gate_add", "memory", "norm"), inner),
            elementwise("out_norm", ("gated",), inner, params=inner),
            linear("out", "out_norm", inner, at.dim, bias=True),
        )

    def _unit(self, name: str) -> Ops:
        inner = self.inner
        return (
            elementwise(f"{name}_norm", ("norm",), inner, params=inner),
            linear(f"{name}_linear", f"{name}_norm", inner, inner, bias=True),
            conv_op(f"{name}_conv", f"{name}_linear", inner, inner, self.conv_width, inner),
            elementwise(f"{name}_add", (f"{name}_linear", f"{name}_conv"), inner),
        )

    def _memory_ops(self, at: Place) -> Ops:
        inner = self.inner
        found = [
            linear("hidden", "kept_add", inner, inner, bias=True),
            linear("project", "hidden", inner, inner),
        ]
        features = ["project"]
        for i in range(self.layers):
            wide = len(features) * inner
            together = Op(
                f"features_{i}", tuple(features), (wide,), expects=tuple((inner,) for _ in features)
            )
            size = (wide, inner, self._memory_taps(at), inner)
            found += [
                together,
                conv_op(f"memory_conv_{i}", together.name, *size),
                elementwise(f"memory_norm_{i}", (f"memory_conv_{i}",), inner, params=2 * inner),
            ]
            features.append(f"memory_norm_{i}")
        return (*found, elementwise("memory", ("kept_add", features[-1]), inner))

    def memory(self, at: Place) -> Memory:
        units = 2 * (self.conv_width - 1)
        dense = sum((i + 1) * spacing for i, spacing in enumerate(self._spacings()))
        return Memory(state=self.inner * (units + (self.memory_width - 1) * dense))

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:GatedMemory",
            {
                "dim": at.dim,
                "inner": self.inner,
                "kept": self._unit_plan(at),
                "gate": self._unit_plan(at),
                "memory": self._memory_plan(at),
            },
        )

    def _unit_plan(self, at: Place) -> Call:
        conv = conv_plan(at, self.inner, self.inner, self.conv_width, groups=self.inner)
        return Call(f"{_MODULE}:ConvUnit", {"inner": self.inner, "conv": conv})

    def _memory_plan(self, at: Place) -> Call:
        layers = []
        for i, spacing in enumerate(self._spacings()):
            size = ((i + 1) * self.inner, self.inner, self._memory_taps(at))
            conv = conv_plan(at, *size, dilation=spacing, groups=self.inner)
            layers.append(Call(f"{_MODULE}:DenseMemoryLayer", {"inner": self.inner, "conv": conv}))
        return Call(f"{_MODULE}:DilatedMemory", {"inner": self.inner, "layers": tuple(layers)})
