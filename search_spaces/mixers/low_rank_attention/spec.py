"""Attention to a fixed number of learned sums over the sequence (Linformer)."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.ops import Op, Ops, linear

_MODULE = "nas.search_spaces.mixers.low_rank_attention.module"


class LowRankAttention(Mixer):
    """Keys and values are projected along the sequence to `rank` learned sums, so that the work
    grows with the length and not with its square."""

    papers = (
        Source(
            "Linformer: Self-Attention with Linear Complexity",
            "https://arxiv.org/abs/2006.04768",
            "one projection shared by all layers, since a part owns its weights; another rank for "
            "each layer is a matter of the space; pooling and convolution as projections",
        ),
        Source(
            "A Practical Survey on Faster and Lighter Transformers",
            "https://arxiv.org/abs/2103.14636",
            "only its low-rank keys and values; its other mechanisms are parts and scopes of their "
            "own",
        ),
        Source(
            "Efficient Transformers: A Survey",
            "https://arxiv.org/abs/2009.06732",
            "only its low-rank group; its other groups are parts and scopes of their own",
        ),
        Source(
            "Wide Attention Is The Way Forward For Transformers?",
            "https://arxiv.org/abs/2210.00640",
            "only Linformer of its ten attentions; the trade of layers for heads is a matter of "
            "the space",
        ),
        Source(
            "Greenformers: Improving Computation and Memory Efficiency in Transformer Models via "
            "Low-Rank Approximation",
            "https://arxiv.org/abs/2108.10808",
            "only the Linformer that it compares with; its low-rank linear layers",
        ),
    )
    example = {
        "kind": "low_rank_attention",
        "heads": 4,
        "head_dim": 16,
        "rank": 8,
        "max_tokens": 128,
    }
    variants = (
        {
            "kind": "low_rank_attention",
            "heads": 2,
            "head_dim": 8,
            "rank": 5,
            "max_tokens": 100,
            "sharing": "heads",
        },
        {
            "kind": "low_rank_attention",
            "heads": 2,
            "head_dim": 8,
            "rank": 16,
            "max_tokens": 64,
            "sharing": "heads_and_kv",
        },
    )
    families = ("encoder",)
    family_reason = (
        "its keys and values are sums over the whole sequence, so that a token would see later ones"
    )

    kind: Literal["low_rank_attention"] = "low_rank_attention"
    heads: Count
    head_dim: HeadDim
    rank: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Sums over the sequence that a token attends to."""
    max_tokens: Count
    """Places for which there are weights; a longer input is an error."""
    sharing: Literal["none", "heads", "heads_and_kv"] = "none"
    """What uses the same projection: nothing (one for each head's keys and one for its values),
    all heads, or all heads with their keys and values alike."""

    @property
    def matrices(self) -> int:
        """Projections of rank x max_tokens."""
        return {"none": 2 * self.heads, "heads": 2, "heads_and_kv": 1}[self.sharing]

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        return (
            linear("query", "x", at.dim, width),
            linear("key", "x", at.dim, width),
            linear("value", "x", at.dim, width),
            Op(
                "attend",
                ("query", "key", "value"),
                (width,),
                "attention",
                expects=((width,), (width,), (width,)),
                params=self.matrices * self.rank * self.max_tokens,
                # each token is added to every sum of keys and of values, and attends to them
                flops=(4 + 4) * self.rank * width,
            ),
            linear("out", "attend", width, at.dim),
        )

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:LowRankAttention",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "to_rank": self._projection_plan(),
            },
        )

    def _projection_plan(self) -> Call:
        numbers = {"max_tokens": self.max_tokens, "rank": self.rank}
        if self.sharing == "heads_and_kv":
            return Call(f"{_MODULE}:OneLengthProjection", numbers)
        heads = self.heads if self.sharing == "none" else 1
        return Call(f"{_MODULE}:LengthProjection", {**numbers, "heads": heads})
