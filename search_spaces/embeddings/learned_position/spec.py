"""Token embedding plus a learned vector for each position."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Embedding, Place, Source
from nas.search_spaces.norms.none.spec import NoNorm
from nas.search_spaces.ops import Op, Ops, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNorm

_MODULE = "nas.search_spaces.embeddings.learned_position.module"
Segments = Annotated[int, Field(strict=True, ge=1, le=1024)]


class LearnedPosition(Embedding):
    """Token vector plus position vector, as in GPT-2; usable up to `max_tokens`. With segments and
    a norm, as in BERT."""

    papers = (
        Source(
            "Language Models are Unsupervised Multitask Learners",
            "https://cdn.openai.com/better-language-models/"
            "language_models_are_unsupervised_multitask_learners.pdf",
        ),
        Source(
            "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            "https://arxiv.org/abs/1810.04805",
            "dropout",
        ),
    )
    example = {"kind": "learned_position", "max_tokens": 512}
    variants = (
        {
            "kind": "learned_position",
            "max_tokens": 128,
            "segments": 2,
            "norm": {"kind": "layer"},
        },
        {"kind": "learned_position", "max_tokens": 64, "norm": {"kind": "rms"}},
        {"kind": "learned_position", "max_tokens": 64, "segments": 3},
    )

    kind: Literal["learned_position"] = "learned_position"
    max_tokens: Count
    """Positions that have a vector; a longer input is an error."""
    segments: Segments | None = None
    """Kinds of segment that have a vector, such as BERT's two sentences; None is no such vector."""
    norm: "AnyNorm" = NoNorm()
    """Of the sum."""

    def vocabulary_ops(self, at: Place, vocab: int) -> Ops:
        rows = {"token": vocab, "position": self.max_tokens}
        if self.segments is not None:
            rows["segment"] = self.segments
        tables = tuple(
            Op(name, ("x",), (at.dim,), "lookup", params=count * at.dim)
            for name, count in rows.items()
        )
        add = Op("add", tuple(rows), (at.dim,), expects=((at.dim,),) * len(rows))
        return (*tables, add, *scope(self.norm.ops(at, 1), "norm", "add"))

    def vocabulary_plan(self, at: Place, vocab: int) -> Call:
        arguments = {"vocab": vocab, "dim": at.dim, "max_tokens": self.max_tokens}
        total = Call(f"{_MODULE}:LearnedPositionEmbedding", arguments)
        if self.segments is not None:
            arguments = {**arguments, "segments": self.segments}
            total = Call(f"{_MODULE}:SegmentedEmbedding", arguments)
        if self.norm.kind == "none":
            return total
        return Call(
            f"{_MODULE}:NormalisedEmbedding", {"embedding": total, "norm": self.norm.plan(at)}
        )
