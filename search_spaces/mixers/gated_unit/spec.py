"""A gated single-head unit: quadratic attention inside chunks plus linear attention over all."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.kernels.linear_attention.cost import LINEAR_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call, Node
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Source, only_with
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.short_conv.spec import short_conv
from nas.search_spaces.positions.rotary.spec import Rotary

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

_MODULE = "nas.search_spaces.mixers.gated_unit.module"


class GatedUnit(Mixer):
    """One head whose result gates wide hidden units, in place of a mixer and an FFN: give the layer
    no FFN. FLASH is double gating without convolution, MossFormer triple gating with it."""

    papers = (
        Source(
            "MossFormer: Pushing the Performance Limit of Monaural Speech Separation using Gated "
            "Single-Head Transformer with Convolution-Augmented Joint Self-Attentions",
            "https://arxiv.org/abs/2302.11824",
            "encoder, decoder and masks of speech separation",
        ),
        Source("Transformer Quality in Linear Time", "https://arxiv.org/abs/2202.10447"),
    )
    example = {"kind": "gated_unit", "hidden": 64, "key_dim": 16, "chunk": 16}
    variants = (
        {
            "kind": "gated_unit",
            "hidden": 48,
            "key_dim": 8,
            "chunk": 32,
            "branches": "local",
            "conv": 4,
            "gating": "double",
        },
        {
            "kind": "gated_unit",
            "hidden": 32,
            "key_dim": 12,
            "chunk": 256,
            "branches": "global",
            "conv": 0,
            "position": {"kind": "none"},
        },
        {
            "kind": "gated_unit",
            "hidden": 32,
            "key_dim": 8,
            "chunk": 8,
            "conv": 0,
            "gating": "double",
        },
    )
    conditions = (only_with("chunk", "branches", "both", "local", idle=256),)
    families = FAMILIES

    kind: Literal["gated_unit"] = "gated_unit"
    hidden: Count
    """Hidden units E; the papers take 2 dim."""
    key_dim: HeadDim
    """Width of the projection from which queries and keys are made."""
    chunk: Count
    """Tokens that see each other in the quadratic branch; the papers take 256."""
    branches: Literal["both", "local", "global"] = "both"
    """Quadratic attention inside chunks, linear attention over all tokens, or their sum."""
    conv: Annotated[int, Field(strict=True, ge=0, le=64)] = 17
    """Tokens that the convolution added to each projection sees; 0 is no convolution."""
    gating: Literal["triple", "double"] = "triple"
    position: "AnyPosition" = Rotary()

    @property
    def value_dim(self) -> int:
        """Channels that the branches look for."""
        return self.hidden * (2 if self.gating == "triple" else 1)

    @property
    def projected(self) -> int:
        """Both halves of the hidden units, and what queries and keys are made of."""
        return 2 * self.hidden + self.key_dim

    def ops(self, at: Place, context: int) -> Ops:
        branches = self._branch_ops(at, context)
        found = branches[0].name if len(branches) == 1 else "sum"
        projected = "conv_in" if self.conv else "project"
        return (
            linear("project", "x", at.dim, self.projected),
            *self._conv(at, "conv_in", "project", self.projected),
            *branches,
            *self._sum(branches),
            Op(
                "gating",
                (found, projected),
                (self.hidden,),
                expects=((self.value_dim,), (self.projected,)),
            ),
            linear("out", "gating", self.hidden, at.dim),
            *self._conv(at, "conv_out", "out", at.dim),
        )

    def _conv(self, at: Place, name: str, reads: str, channels: int) -> Ops:
        if not self.conv:
            return ()
        op = short_conv(name, reads, channels, self.conv)
        # the two-way form is torch's own convolution, whose products count
        return (op if at.causal else replace(op, flops=2 * channels * self.conv),)

    def _sum(self, branches: Ops) -> Ops:
        if len(branches) == 1:
            return ()
        return (elementwise("sum", [branch.name for branch in branches], self.value_dim),)

    def _branch_ops(self, at: Place, context: int) -> Ops:
        local, glob = self._local_op(context), self._global_op(at, context)
        return {"both": (local, glob), "local": (local,), "global": (glob,)}[self.branches]

    def _branch(self, name: str, flops: int, decode_flops: int, scratch: int) -> Op:
        return Op(
            name,
            ("conv_in" if self.conv else "project",),
            (self.value_dim,),
            "attention",
            expects=((self.projected,),),
            params=4 * self.key_dim,
            flops=flops,
            decode_flops=decode_flops,
            scratch=scratch,
        )

    def _local_op(self, context: int) -> Op:
        pair = 2 * (self.key_dim + self.value_dim)
        filled = (context - 1) % self.chunk + 1
        keys = min(context, self.chunk)
        return self._branch("local", pair * keys, pair * filled, 2 * self.chunk)

    def _global_op(self, at: Place, context: int) -> Op:
        key, value = self.key_dim, self.value_dim
        step = step_flops(key, value)
        if not at.causal:
            return self._branch("global", 2 * step, step, 0)
        if self.branches == "global":
            scratch = LINEAR_CHUNK + key * value // LINEAR_CHUNK
            return self._branch(
                "global", forward_flops_per_token(context, key, value), step, scratch
            )
        writes = 2 * key * value if context > 1 else 0
        return self._branch("global", step + writes, step, 3 * key * value // self.chunk)

    def memory(self, at: Place) -> Memory:
        matrix = self.key_dim * self.value_dim
        kept = self.chunk * (self.key_dim + self.value_dim)
        branches = {"both": kept + 2 * matrix, "local": kept, "global": matrix}[self.branches]
        return Memory(state=branches + max(self.conv - 1, 0) * (self.projected + at.dim))

    def plan(self, at: Place) -> Call:
        gating = "TripleGating" if self.gating == "triple" else "DoubleGating"
        return Call(
            f"{_MODULE}:GatedUnit",
            {
                "dim": at.dim,
                "hidden": self.hidden,
                "key_dim": self.key_dim,
                "conv_in": self._conv_plan(at, self.projected),
                "conv_out": self._conv_plan(at, at.dim),
                "branches": self._branch_plans(at),
                "gating": Call(f"{_MODULE}:{gating}"),
            },
        )

    def _conv_plan(self, at: Place, channels: int) -> Call:
        if not self.conv:
            return Call(f"{_MODULE}:NoConvAugment")
        name = "ConvAugment" if at.causal else "TwoWayConvAugment"
        return Call(f"{_MODULE}:{name}", {"channels": channels, "width": self.conv})

    def _branch_plans(self, at: Place) -> tuple[Call, ...]:
        settings: dict[str, Node] = {"key_dim": self.key_dim, "position": self.position.plan(at)}
        chunked: dict[str, Node] = {**settings, "chunk": self.chunk}
        local = Call(f"{_MODULE}:{'ChunkSquares' if at.causal else 'TwoWayChunkSquares'}", chunked)
        if not at.causal:
            glob = Call(f"{_MODULE}:TwoWayAverage", settings)
        elif self.branches == "global":
            glob = Call(f"{_MODULE}:AllEarlier", settings)
        else:
            glob = Call(f"{_MODULE}:EarlierChunks", chunked)
        return {"both": (local, glob), "local": (local,), "global": (glob,)}[self.branches]
