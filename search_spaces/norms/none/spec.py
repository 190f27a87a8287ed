"""No normalisation."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Norm, Place, Source
from nas.search_spaces.ops import Ops


class NoNorm(Norm):
    """Returns its input: after the last layer of a post-norm stack, which ends in a norm anyway."""

    papers = (
        Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
        Source(
            "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            "https://arxiv.org/abs/1810.04805",
        ),
    )
    example = {"kind": "none"}

    kind: Literal["none"] = "none"

    def ops(self, at: Place, context: int) -> Ops:
        return ()

    def plan(self, at: Place) -> Call:
        return Call("torch.nn:Identity")
