"""Gated associative memory: a short convolution and a fixed memory, mixed by gates."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Memory, Mixer, Place, Rule, Source
from nas.search_spaces.mixers.dilated_conv.spec import conv_op, conv_plan
from nas.search_spaces.ops import Op, Ops, linear

_MODULE = "nas.search_spaces.mixers.gam.module"


class Gam(Mixer):
    """A depthwise convolution beside a learned memory that each token reads on its own. The memory
    is the same for every sequence, so no token learns anything from another through it."""

    papers = (
        Source(
            "Gated Associative Memory: A Parallel O(N) Architecture for Efficient Sequence "
            "Modeling",
            "https://arxiv.org/abs/2509.00605",
        ),
    )
    example = {"kind": "gam", "width": 3, "slots": 32}
    variants = (
        {"kind": "gam", "width": 5, "slots": 0},
        {"kind": "gam", "width": 0, "slots": 16},
    )
    rules = (
        Rule(
            ("width", "slots"),
            lambda width, slots: width + slots > 0,
            "width or slots must be above 0",
        ),
        Rule(("width",), lambda width: width != 1, "width must be 0 or at least 2"),
    )
    families = FAMILIES

    kind: Literal["gam"] = "gam"
    width: Annotated[int, Field(strict=True, ge=0, le=256)]
    """Tokens that the convolution sees; 0 leaves the convolution out."""
    slots: Annotated[int, Field(strict=True, ge=0, le=65536)]
    """Vectors in the memory; 0 leaves the memory out."""

    @property
    def mixes_tokens(self) -> bool:
        """The memory alone does not."""
        return self.width > 0

    @property
    def _branches(self) -> int:
        return (self.width > 0) + (self.slots > 0)

    def ops(self, at: Place, context: int) -> Ops:
        found = [linear("gate", "x", at.dim, self._branches * at.dim, bias=True)]
        if self.width:
            found.append(conv_op("conv", "x", at.dim, at.dim, self.width, at.dim))
        if self.slots:
            found.append(self._bank(at.dim))
        branches = tuple(op.name for op in found[1:])
        shapes = ((self._branches * at.dim,), *((at.dim,) for _ in branches))
        return (*found, Op("mix", ("gate", *branches), (at.dim,), expects=shapes))

    def _bank(self, dim: int) -> Op:
        return Op(
            "memory",
            ("x",),
            (dim,),
            "memory",
            expects=((dim,),),
            params=self.slots * dim,
            flops=4 * self.slots * dim,
            scratch=self.slots,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(state=max(0, self.width - 1) * at.dim)

    def plan(self, at: Place) -> Call:
        branches = []
        if self.width:
            branches.append(conv_plan(at, at.dim, at.dim, self.width, groups=at.dim))
        if self.slots:
            branches.append(Call(f"{_MODULE}:MemoryBank", {"dim": at.dim, "slots": self.slots}))
        return Call(f"{_MODULE}:GatedBranches", {"dim": at.dim, "branches": tuple(branches)})
