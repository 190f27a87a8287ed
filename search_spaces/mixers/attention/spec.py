"""Softmax attention: one part whose numbers give MHA, GQA, MQA, sparse-query and sliding window."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Rule, Source
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

GROUPS_DIVIDE_HEADS = Rule(
    ("heads", "groups"), lambda heads, groups: heads % groups == 0, "groups must divide heads"
)
HeadDim = Annotated[int, Field(strict=True, ge=2, le=1024, multiple_of=2)]
"""Channels of one head; even, since rotary positions turn pairs of channels."""


class Attention(Mixer):
    """Softmax attention. groups = heads is MHA, groups = 1 is MQA, between them GQA; fewer heads
    than dim / head_dim is sparse-query attention."""

    papers = (
        Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
        Source(
            "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints",
            "https://arxiv.org/abs/2305.13245",
        ),
        Source(
            "Sparse Query Attention (SQA): A Computationally Efficient Attention Mechanism with "
            "Query Heads Reduction",
            "https://arxiv.org/abs/2510.01817",
        ),
        Source("Longformer: The Long-Document Transformer", "https://arxiv.org/abs/2004.05150"),
    )
    example = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
    variants = (
        {"kind": "attention", "heads": 4, "groups": 4, "head_dim": 16, "bias": True},
        {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 16, "window": 16},
        {
            "kind": "attention",
            "heads": 3,
            "groups": 3,
            "head_dim": 8,
            "position": {"kind": "none"},
        },
    )
    rules = (GROUPS_DIVIDE_HEADS,)

    kind: Literal["attention"] = "attention"
    heads: Count
    """Query heads."""
    groups: Count
    """Key and value heads."""
    head_dim: HeadDim
    window: Count | None = None
    """Keys a query may see, itself included; None is unlimited."""
    position: "AnyPosition" = Rotary()
    bias: Flag = False

    def ops(self, at: Place, context: int) -> Ops:
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        return (
            linear("query", "x", at.dim, query, bias=self.bias),
            linear("key", "x", at.dim, key, bias=self.bias),
            linear("value", "x", at.dim, key, bias=self.bias),
            Op(
                "attend",
                ("query", "key", "value"),
                (query,),
                "attention",
                expects=((query,), (key,), (key,)),
                flops=4 * query * keys_read(context, self.window),
                decode_flops=4 * query * keys_visible(context, self.window),
            ),
            linear("out", "attend", query, at.dim, bias=self.bias),
        )

    def memory(self, at: Place) -> Memory:
        return Memory(cache_per_token=2 * self.groups * self.head_dim, cache_tokens=self.window)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.attention.module:Attention",
            {
                "dim": at.dim,
                "heads": self.heads,
                "groups": self.groups,
                "head_dim": self.head_dim,
                "bias": self.bias,
                "position": self.position.plan(at),
                "scope": scope_plan(self.window),
            },
        )


def scope_plan(window: int | None) -> Call:
    """What a query may see: everything before it, or a window."""
    if window is None:
        return Call("nas.search_spaces.mixers.attention.module:Everything")
    return Call("nas.search_spaces.mixers.attention.module:Window", {"window": window})


def keys_visible(context: int, window: int | None) -> int:
    """Keys that the last of `context` tokens may see."""
    return context if window is None else min(context, window)


def keys_read(context: int, window: int | None) -> int:
    """Keys that a forward pass reads for each token: a window is taken in blocks of its own size,
    each block against itself and the one before."""
    return context if window is None or context <= 2 * window else 2 * window
