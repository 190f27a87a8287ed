"""Logits of masked tokens, as in BERT."""

from dataclasses import replace
from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Flag, Head, Place, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.heads.masked_token.module"


class MaskedToken(Head):
    """Logits of the token that stood where the input was masked, at every position."""

    papers = (
        Source(
            "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            "https://arxiv.org/abs/1810.04805",
        ),
        Source(
            "MosaicBERT: A Bidirectional Encoder Optimized for Fast Pretraining",
            "https://arxiv.org/abs/2312.17482",
            "ALiBi positions, padding removal and the precision of norms",
        ),
    )
    example = {"kind": "masked_token"}
    variants = ({"kind": "masked_token", "transform": False, "bias": False},)
    families = ("encoder",)
    family_reason: ClassVar[str] = "it needs context on both sides of the masked token"

    kind: Literal["masked_token"] = "masked_token"
    transform: Flag = True
    """Whether a dense layer, GELU and a layer norm come before the logits, as in BERT."""
    bias: Flag = True
    """Whether each token of the vocabulary has a bias."""

    def output_ops(self, at: Place, vocab: int, context: int, *, tied: bool) -> Ops:
        before: Ops = ()
        if self.transform:
            before = (
                linear("dense", "x", at.dim, at.dim, bias=True),
                elementwise("gelu", ("dense",), at.dim),
                elementwise("norm", ("gelu",), at.dim, params=2 * at.dim),
            )
        product = linear("product", "norm" if before else "x", at.dim, vocab)
        if tied:
            product = replace(product, params=0)
        bias = Op("bias", ("product",), (vocab,), params=vocab)
        return (*before, product, *((bias,) if self.bias else ()))

    def output_plan(self, at: Place, vocab: int, *, tied: bool) -> Call:
        product = Call("nas.search_spaces.heads.next_token.module:TiedHead")
        if not tied:
            product = Call(
                "nas.search_spaces.heads.next_token.module:Head", {"dim": at.dim, "vocab": vocab}
            )
        if self.bias:
            product = Call(f"{_MODULE}:Biased", {"vocab": vocab, "head": product})
        if not self.transform:
            return product
        return Call(f"{_MODULE}:MaskedTokenHead", {"dim": at.dim, "head": product})
