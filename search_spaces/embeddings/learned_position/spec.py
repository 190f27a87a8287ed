"""Token embedding plus a learned vector for each position."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Embedding, Place, Source
from nas.search_spaces.ops import Op, Ops


class LearnedPosition(Embedding):
    """Token vector plus position vector, as in GPT-2; usable up to `max_tokens`."""

    papers = (
        Source(
            "Language Models are Unsupervised Multitask Learners",
            "https://cdn.openai.com/better-language-models/"
            "language_models_are_unsupervised_multitask_learners.pdf",
        ),
    )
    example = {"kind": "learned_position", "max_tokens": 512}

    kind: Literal["learned_position"] = "learned_position"
    max_tokens: Count
    """Positions that have a vector; a longer input is an error."""

    def vocabulary_ops(self, at: Place, vocab: int) -> Ops:
        token, position = vocab * at.dim, self.max_tokens * at.dim
        return (
            Op("token", ("x",), (at.dim,), "lookup", params=token),
            Op("position", ("x",), (at.dim,), "lookup", params=position),
            Op("add", ("token", "position"), (at.dim,), expects=((at.dim,), (at.dim,))),
        )

    def vocabulary_plan(self, at: Place, vocab: int) -> Call:
        return Call(
            "nas.search_spaces.embeddings.learned_position.module:LearnedPositionEmbedding",
            {"vocab": vocab, "dim": at.dim, "max_tokens": self.max_tokens},
        )
