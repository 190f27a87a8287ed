"""Logits of the class of a whole sequence."""

from dataclasses import replace
from typing import ClassVar, Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Head, Place, Source
from nas.search_spaces.ops import Op, Ops, linear

_MODULE = "nas.search_spaces.heads.classification.module"


class Classification(Head):
    """One class for each sequence, from its first token or from the mean of all."""

    papers = (
        Source(
            "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            "https://arxiv.org/abs/1810.04805",
        ),
    )
    example = {"kind": "classification", "classes": 8}
    variants = ({"kind": "classification", "classes": 3, "pool": "first", "transform": False},)
    families = ("encoder",)
    family_reason: ClassVar[str] = "it reads a sequence as a whole"
    over_vocabulary: ClassVar[bool] = False

    kind: Literal["classification"] = "classification"
    classes: Count
    pool: Literal["mean", "first"] = "mean"
    """Which hidden state stands for the sequence: the mean of all, or that of the first token."""
    transform: Flag = True
    """Whether a dense layer and tanh come before the logits, as BERT's pooler."""

    def output_ops(self, at: Place, vocab: int, context: int, *, tied: bool) -> Ops:
        ops: tuple[Op, ...] = (Op("pool", ("x",), (at.dim,), expects=((at.dim,),)),)
        if self.transform:
            ops = (*ops, _once("dense", "pool", at.dim, at.dim, context))
        return (*ops, _once("logits", ops[-1].name, at.dim, self.classes, context))

    def output_plan(self, at: Place, vocab: int, *, tied: bool) -> Call:
        pool = {"mean": "MeanToken", "first": "FirstToken"}[self.pool]
        pooled = Call(f"{_MODULE}:{pool}")
        if self.transform:
            pooled = Call(f"{_MODULE}:Pooler", {"dim": at.dim, "pool": pooled})
        return Call(
            f"{_MODULE}:ClassificationHead",
            {"dim": at.dim, "classes": self.classes, "pool": pooled},
        )


def _once(name: str, reads: str, width_in: int, width_out: int, context: int) -> Op:
    """A matrix product that runs once for a sequence, shared out among its tokens."""
    product = linear(name, reads, width_in, width_out, bias=True)
    return replace(product, flops=product.flops // context, decode_flops=product.flops)
