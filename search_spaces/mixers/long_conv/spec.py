"""Convolution with filters as long as the sequence, by the fast Fourier transform."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.long_conv.cost import scratch_values_per_token
from nas.plan import Call, Node
from nas.search_spaces.base import FAMILIES, Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.pieces.gate.spec import silu_gate, silu_gate_plan, ungated_plan

_MODULE = "nas.search_spaces.mixers.long_conv.module"


def long_conv_op(name: str, reads: str, dim: int, context: int, most: int, params: int) -> Op:
    """A long convolution; it has no matrix products."""
    return Op(
        name,
        (reads,),
        (dim,),
        "long_convolution",
        expects=((dim,),),
        params=params,
        scratch=dim * scratch_values_per_token(context, most),
    )


class LongConv(Mixer):
    """Each channel over all its earlier values, weighted by a filter of the distance. The filter is
    stored, or written by a small network."""

    papers = (
        Source(
            "A Unified View of Long-Sequence Models towards Modeling Million-Scale Dependencies",
            "https://arxiv.org/abs/2302.06218",
            "the distributed attention over several devices",
        ),
        Source(
            "Hyena Hierarchy: Towards Larger Convolutional Language Models",
            "https://arxiv.org/abs/2302.10866",
            "orders other than one, the short convolutions and deeper filter networks",
        ),
    )
    example = {"kind": "long_conv", "max_tokens": 256}
    variants = (
        {"kind": "long_conv", "max_tokens": 128, "waves": 0, "gated": False},
        {"kind": "long_conv", "max_tokens": 128, "waves": 5},
    )
    families = FAMILIES

    kind: Literal["long_conv"] = "long_conv"
    max_tokens: Count
    """Longest input."""
    waves: Annotated[int, Field(strict=True, ge=0, le=256)] = 16
    """Sine waves from which the filter is written; 0 stores the filter, a number for each channel
    and distance."""
    gated: Flag = True
    """Whether the output is multiplied by silu(W x)."""

    def _filter_params(self, at: Place) -> int:
        if self.waves == 0:
            return at.dim * self.max_tokens
        return at.dim * (self.waves + 1) + 2 * self.waves

    def ops(self, at: Place, context: int) -> Ops:
        dim = at.dim
        filters = self._filter_params(at) * (1 if at.causal else 2)
        found = [
            linear("value", "x", dim, dim),
            long_conv_op("conv", "value", dim, context, self.max_tokens, filters),
        ]
        if self.gated:
            found += silu_gate("gate", "conv", dim, dim)
        return (*found, linear("out", found[-1].name, dim, dim))

    def memory(self, at: Place) -> Memory:
        return Memory(cache_per_token=at.dim)

    def plan(self, at: Place) -> Call:
        numbers: dict[str, Node] = {
            "dim": at.dim,
            "max_tokens": self.max_tokens,
            "gate": silu_gate_plan(at.dim, at.dim) if self.gated else ungated_plan(),
        }
        taps = self._filter_plan(at)
        if at.causal:
            return Call(f"{_MODULE}:LongConv", {**numbers, "taps": taps})
        return Call(f"{_MODULE}:TwoSidedLongConv", {**numbers, "before": taps, "after": taps})

    def _filter_plan(self, at: Place) -> Call:
        size = {"channels": at.dim, "max_tokens": self.max_tokens}
        if self.waves == 0:
            return Call(f"{_MODULE}:StoredFilter", size)
        return Call(f"{_MODULE}:WrittenFilter", {**size, "waves": self.waves})
