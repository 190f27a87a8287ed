"""Token embedding."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Embedding, Flag, Place, Source
from nas.search_spaces.ops import Op, Ops


class Token(Embedding):
    """One learned vector for each token of the vocabulary."""

    papers = (
        Source(
            "Using the Output Embedding to Improve Language Models",
            "https://arxiv.org/abs/1608.05859",
        ),
        Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
    )
    example = {"kind": "token"}
    variants = ({"kind": "token", "scaled": True},)

    kind: Literal["token"] = "token"
    scaled: Flag = False
    """Whether vectors are multiplied by the square root of the width, as in Gemma; a tied head is
    not."""

    def vocabulary_ops(self, at: Place, vocab: int) -> Ops:
        table = vocab * at.dim
        return (Op("lookup", ("x",), (at.dim,), "lookup", params=table),)

    def vocabulary_plan(self, at: Place, vocab: int) -> Call:
        name = "ScaledTokenEmbedding" if self.scaled else "TokenEmbedding"
        return Call(
            f"nas.search_spaces.embeddings.token.module:{name}",
            {"vocab": vocab, "dim": at.dim},
        )
