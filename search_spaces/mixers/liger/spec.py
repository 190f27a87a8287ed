"""Window attention and gated linear attention from the same queries, keys and values."""

from typing import Annotated, Literal

from pydantic import Field

from nas.kernels.linear_attention.cost import (
    LINEAR_CHANNEL_CHUNK,
    forward_flops_per_token,
    step_flops,
)
from nas.plan import Call
from nas.search_spaces.base import Count, HeadShape, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import GROUPS_DIVIDE_HEADS, HeadDim
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.window.spec import Window

_MODULE = "nas.search_spaces.mixers.liger.module"


class Liger(Mixer):
    """The mean, or a learned mixture, of softmax attention in a window and of a gated recurrence
    over everything before; both share all projections, so attention converts to it as it stands."""

    papers = (
        Source(
            "Liger: Linearizing Large Language Models to Gated Recurrent Structures",
            "https://arxiv.org/abs/2503.01496",
            "conversion of a pretrained model and its LoRA adapters",
        ),
    )
    example = {"kind": "liger", "heads": 4, "groups": 2, "head_dim": 16, "window": 16}
    variants = (
        {
            "kind": "liger",
            "heads": 2,
            "groups": 2,
            "head_dim": 16,
            "window": 8,
            "gate": "projection",
            "mixture": "learned",
            "temperature": 4.0,
        },
    )
    rules = (GROUPS_DIVIDE_HEADS,)

    kind: Literal["liger"] = "liger"
    heads: Count
    """Query heads."""
    groups: Count
    """Key and value heads."""
    head_dim: HeadDim
    window: Count = 64
    """Keys that the softmax branch sees, the query's own included."""
    gate: Literal["key", "projection"] = "key"
    """Where the forget gates come from: the keys themselves, without parameters, or a projection of
    their own."""
    mixture: Literal["mean", "learned"] = "mean"
    """``mean`` is half of each branch; ``learned`` a share for each head, one half at first."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0)] = 16.0
    """Divides the logarithm of the gates; the higher, the longer the memory."""

    @property
    def shape(self) -> HeadShape:
        """Its heads, as scopes know them."""
        return HeadShape(self.heads, self.groups, self.head_dim, self.head_dim)

    def ops(self, at: Place, context: int) -> Ops:
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        own = self.gate == "projection"
        return (
            linear("query", "x", at.dim, query),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, key),
            *((linear("forget", "x", at.dim, key),) if own else ()),
            *Window(window=self.window).attend_ops(at, self.shape, Softmax(), context),
            self._recurrence("forget" if own else "key", context),
            Op(
                "mixture",
                ("attend", "recurrence"),
                (query,),
                expects=((query,), (query,)),
                params=self.heads if self.mixture == "learned" else 0,
            ),
            linear("out", "mixture", query, at.dim),
        )

    def _recurrence(self, gate: str, context: int) -> Op:
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        forward = forward_flops_per_token(context, self.head_dim, self.head_dim, per_channel=True)
        return Op(
            "recurrence",
            ("query", "key", "value", gate),
            (query,),
            "recurrence",
            expects=((query,), (key,), (key,), (key,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.head_dim, self.head_dim),
            # of each chunk, the scores of all pairs and the state before it
            scratch=self.heads * LINEAR_CHANNEL_CHUNK
            + query * self.head_dim // LINEAR_CHANNEL_CHUNK,
        )

    def memory(self, at: Place) -> Memory:
        return Memory(
            2 * self.groups * self.head_dim,
            self.window,
            state=self.heads * self.head_dim * self.head_dim,
        )

    def plan(self, at: Place) -> Call:
        gate = Call(f"{_MODULE}:KeyGate", {"temperature": self.temperature})
        if self.gate == "projection":
            width = self.groups * self.head_dim
            arguments = {"dim": at.dim, "width": width, "temperature": self.temperature}
            gate = Call(f"{_MODULE}:ProjectedGate", arguments)
        mixture = Call(f"{_MODULE}:HalfAndHalf")
        if self.mixture == "learned":
            mixture = Call(f"{_MODULE}:LearnedShare", {"heads": self.heads})
        return Call(
            f"{_MODULE}:Liger",
            {
                "dim": at.dim,
                "heads": self.heads,
                "groups": self.groups,
                "head_dim": self.head_dim,
                "position": Rotary().plan(at),
                "scope": Window(window=self.window).attend_plan(at, self.shape, Softmax()),
                "gate": gate,
                "mixture": mixture,
            },
        )
