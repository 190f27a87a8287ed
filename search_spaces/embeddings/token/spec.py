"""Token embedding."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Embedding, Place, Source
from nas.search_spaces.ops import Op, Ops


class Token(Embedding):
    """One learned vector for each token of the vocabulary."""

    papers = (
        Source(
            "Using the Output Embedding to Improve Language Models",
            "https://arxiv.org/abs/1608.05859",
        ),
    )
    example = {"kind": "token"}

    kind: Literal["token"] = "token"

    def vocabulary_ops(self, at: Place, vocab: int) -> Ops:
        table = vocab * at.dim
        return (Op("lookup", ("x",), (at.dim,), "lookup", params=table),)

    def vocabulary_plan(self, at: Place, vocab: int) -> Call:
        return Call(
            "nas.search_spaces.embeddings.token.module:TokenEmbedding",
            {"vocab": vocab, "dim": at.dim},
        )
