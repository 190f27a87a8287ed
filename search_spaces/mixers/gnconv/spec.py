"""Recursive gated convolution: products of several convolved tokens, without attention."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.dilated_conv.spec import TapCount, conv_op, conv_plan
from nas.search_spaces.ops import Op, Ops, linear


class GnConv(Mixer):
    """A depthwise convolution whose channel groups are multiplied one after another, each product
    widened for the next. It sees no further than the convolution."""

    papers = (
        Source(
            "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
            "https://arxiv.org/abs/2207.14284",
            "the global filter in place of the convolution, and the scale 1/alpha",
        ),
    )
    example = {"kind": "gnconv", "order": 3, "width": 7}
    variants = (
        {"kind": "gnconv", "order": 1, "width": 4},
        {"kind": "gnconv", "order": 5, "width": 3},
    )
    families = FAMILIES

    kind: Literal["gnconv"] = "gnconv"
    order: Annotated[int, Field(strict=True, ge=1, le=6)]
    """Products, n."""
    width: TapCount
    """Tokens that the convolution sees."""

    def _widths(self, at: Place) -> tuple[int, ...]:
        """Channels of the groups: the width of the model, and half as many for each before it."""
        return tuple(max(1, at.dim >> i) for i in reversed(range(self.order)))

    def ops(self, at: Place, context: int) -> Ops:
        widths = self._widths(at)
        groups = sum(widths)
        found = [
            linear("project", "x", at.dim, widths[0] + groups, bias=True),
            Op("inputs", ("project",), (groups,), "slice"),
            conv_op("conv", "inputs", groups, groups, self.width, groups),
            Op("product_0", ("project", "conv"), (widths[0],), expects=(None, (groups,))),
        ]
        for i, (narrow, wide) in enumerate(pairwise(widths), 1):
            found.append(linear(f"widen_{i}", f"product_{i - 1}", narrow, wide, bias=True))
            reads = (f"widen_{i}", "conv")
            found.append(Op(f"product_{i}", reads, (wide,), expects=((wide,), (groups,))))
        found.append(linear("out", f"product_{self.order - 1}", at.dim, at.dim, bias=True))
        return tuple(found)

    def memory(self, at: Place) -> Memory:
        return Memory(state=(self.width - 1) * sum(self._widths(at)))

    def plan(self, at: Place) -> Call:
        widths = self._widths(at)
        groups = sum(widths)
        return Call(
            "nas.search_spaces.mixers.gnconv.module:GatedConv",
            {
                "dim": at.dim,
                "widths": widths,
                "conv": conv_plan(at, groups, groups, self.width, groups=groups),
            },
        )
