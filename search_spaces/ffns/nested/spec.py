"""Nested FFN: one weight, several usable prefixes of the hidden units."""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FFN, DenseFFN, Place, Rule, Source
from nas.search_spaces.ops import Ops

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyDenseFFN

Share = Annotated[float, Field(gt=0.0, le=1.0)]


def ascend_to_one(prefixes: tuple[float, ...]) -> bool:
    """Whether each share is larger than the one before, and the last is 1."""
    return prefixes[-1] == 1.0 and all(a < b for a, b in pairwise(prefixes))


class Nested(FFN):
    """A dense FFN whose first hidden units also work alone, at several widths. All widths share one
    weight and are trained together; any of them can be exported as a plain FFN."""

    papers = (
        Source(
            "MatFormer: Nested Transformer for Elastic Inference",
            "https://arxiv.org/abs/2310.07707",
        ),
    )
    example = {"kind": "nested", "ffn": {"kind": "swiglu", "hidden": 96}}
    variants = (
        {
            "kind": "nested",
            "ffn": {"kind": "gelu", "hidden": 128, "bias": True},
            "prefixes": [0.125, 0.25, 0.5, 1.0],
        },
        {
            "kind": "nested",
            "ffn": {"kind": "relu_squared", "hidden": 64},
            "prefixes": [0.5, 1.0],
        },
    )
    rules = (Rule(("prefixes",), ascend_to_one, "prefixes must ascend and end with 1.0"),)

    kind: Literal["nested"] = "nested"
    ffn: "AnyDenseFFN"
    """The FFN at full width."""
    prefixes: Annotated[tuple[Share, ...], Field(min_length=2, max_length=16)] = (0.25, 0.5, 1.0)
    """Usable shares of the hidden units, ascending; the last is 1.0, the full width."""

    @property
    def units(self) -> tuple[int, ...]:
        """Hidden units of each prefix, to the nearest whole number and at least one."""
        return tuple(max(1, round(share * self.ffn.hidden)) for share in self.prefixes)

    def at_prefix(self, index: int) -> DenseFFN:
        """The plain FFN of one prefix. An index past the last prefix is the full width, so that
        layers with different numbers of prefixes can be set together."""
        units = self.units[min(index, len(self.units) - 1)]
        return type(self.ffn).model_validate({**self.ffn.model_dump(), "hidden": units})

    def ops(self, at: Place, context: int) -> Ops:
        return self.ffn.ops(at, context)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.ffns.nested.module:NestedFFN",
            {"ffn": self.ffn.plan(at), "units": self.units},
        )
