"""Multi-head latent attention: keys and values from one small latent per token."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Count,
    HeadShape,
    Memory,
    Mixer,
    Place,
    Source,
)
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, elementwise, linear
from nas.search_spaces.pieces.attend.spec import attend_op
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

_MODULE = "nas.search_spaces.mixers.latent_attention.module"


class LatentAttention(Mixer):
    """Attention that keeps `kv_rank` + `rope_dim` numbers per token whatever its heads: keys and
    values are made from a latent, and one key that carries the position is shared by the heads."""

    papers = (
        Source(
            "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model",
            "https://arxiv.org/abs/2405.04434",
            "its experts are the FFN 'experts'; the stretching of rotary positions for long "
            "contexts (YaRN) is a matter of the position",
        ),
    )
    example = {
        "kind": "latent_attention",
        "heads": 4,
        "kv_rank": 24,
        "nope_dim": 12,
        "rope_dim": 8,
        "value_dim": 16,
    }
    variants = (
        {
            "kind": "latent_attention",
            "heads": 3,
            "kv_rank": 32,
            "q_rank": 20,
            "nope_dim": 16,
            "rope_dim": 16,
            "value_dim": 8,
        },
        {
            "kind": "latent_attention",
            "heads": 1,
            "kv_rank": 16,
            "nope_dim": 8,
            "rope_dim": 2,
            "value_dim": 32,
            "position": {"kind": "none"},
        },
    )
    families = FAMILIES

    kind: Literal["latent_attention"] = "latent_attention"
    heads: Count
    kv_rank: Count
    """Width of the latent from which keys and values are made."""
    q_rank: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0
    """Width of the latent from which queries are made; 0 makes them from the tokens directly."""
    nope_dim: Count
    """Channels of a query or key without position, for each head."""
    rope_dim: HeadDim
    """Channels of a query, and of the one key that all heads share, that carry the position."""
    value_dim: Count
    """Value channels of a head."""
    position: "AnyPosition" = Rotary()
    """Applied to the `rope_dim` channels only."""

    @property
    def shape(self) -> HeadShape:
        """The heads when keys and values are made for each of them."""
        return HeadShape(self.heads, self.heads, self.nope_dim + self.rope_dim, self.value_dim)

    @property
    def absorbed(self) -> HeadShape:
        """The heads when the latents themselves are keys and values."""
        return HeadShape(self.heads, 1, self.kv_rank + self.rope_dim, self.kv_rank)

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.shape.key_dim
        nope, value = self.heads * self.nope_dim, self.heads * self.value_dim
        return (
            *self._query(at, width),
            linear("latent", "x", at.dim, self.kv_rank),
            elementwise("latent_norm", ("latent",), self.kv_rank, params=self.kv_rank),
            linear("shared_key", "x", at.dim, self.rope_dim),
            linear("key", "latent_norm", self.kv_rank, nope),
            linear("value", "latent_norm", self.kv_rank, value),
            self._attend(context),
            linear("out", "attend", value, at.dim),
        )

    def _query(self, at: Place, width: int) -> Ops:
        if self.q_rank == 0:
            return (linear("query", "x", at.dim, width),)
        return (
            linear("query_down", "x", at.dim, self.q_rank),
            elementwise("query_norm", ("query_down",), self.q_rank, params=self.q_rank),
            linear("query", "query_norm", self.q_rank, width),
        )

    def _attend(self, context: int) -> Op:
        """Decoding multiplies the query by the key weights and what it saw by the value weights,
        which costs as much as making one token's keys and values: that is counted there."""
        shape = self.shape
        return replace(
            attend_op(shape, context, context),
            reads=("query", "key", "shared_key", "value"),
            expects=(
                (self.heads * shape.key_dim,),
                (self.heads * self.nope_dim,),
                (self.rope_dim,),
                (self.heads * self.value_dim,),
            ),
            decode_flops=attend_op(self.absorbed, context, context).flops,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(self.kv_rank + self.rope_dim)

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:LatentAttention",
            {
                "dim": at.dim,
                "heads": self.heads,
                "kv_rank": self.kv_rank,
                "nope_dim": self.nope_dim,
                "rope_dim": self.rope_dim,
                "value_dim": self.value_dim,
                "query": self._query_plan(at),
                "position": self.position.plan(at),
                "scope": Everything().attend_plan(at, self.shape, Softmax()),
            },
        )

    def _query_plan(self, at: Place) -> Call:
        numbers = {"dim": at.dim, "width": self.heads * self.shape.key_dim}
        if self.q_rank == 0:
            return Call(f"{_MODULE}:DirectQuery", numbers)
        return Call(f"{_MODULE}:LatentQuery", {**numbers, "rank": self.q_rank})
