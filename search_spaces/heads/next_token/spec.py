"""Logits of the next token."""

from dataclasses import replace
from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Head, Place, Source
from nas.search_spaces.ops import Ops, linear

_MODULE = "nas.search_spaces.heads.next_token.module"
LARGE_VOCAB = 2048
"""Tokens from which on a loss without logits in memory takes 0.7 to 1.04 times the time of one with
them, and less as they grow (one CPU thread; the table in ``kernels/linear_cross_entropy``)."""


class NextToken(Head):
    """One matrix product at each position; the matrix may be the embedding's own (tied)."""

    papers = (
        Source(
            "Using the Output Embedding to Improve Language Models",
            "https://arxiv.org/abs/1608.05859",
        ),
    )
    example = {"kind": "next_token"}
    families = ("causal_lm",)
    family_reason: ClassVar[str] = "an encoder sees the token that it would have to predict"

    kind: Literal["next_token"] = "next_token"

    def holds_loss(self, vocab: int) -> bool:
        return vocab >= LARGE_VOCAB

    def output_ops(self, at: Place, vocab: int, context: int, *, tied: bool) -> Ops:
        product = linear("product", "x", at.dim, vocab)
        return (replace(product, params=0) if tied else product,)

    def output_plan(self, at: Place, vocab: int, *, tied: bool) -> Call:
        large = "Large" if self.holds_loss(vocab) else ""
        if tied:
            return Call(f"{_MODULE}:{large}TiedHead")
        return Call(f"{_MODULE}:{large}Head", {"dim": at.dim, "vocab": vocab})
