"""Softmax of the scores plus those of an attention below."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Flag, Normaliser, Place, Source

MODULE = "nas.search_spaces.normalisers.score_residual.module"


class ScoreResidual(Normaliser):
    """Softmax of scores to which those of the nearest attention below are added, which hold those
    of the one below it, and so on. Scores are handed on between layers that both have this
    normaliser, the same scope and as many heads; the lowest of them has softmax alone."""

    papers = (
        Source(
            "PartialFormer: Modeling Part Instead of Whole",
            "https://arxiv.org/abs/2310.14921",
            left_out="the feed-forward network of each head, which is another part's",
        ),
        Source(
            "RealFormer: Transformer Likes Residual Attention", "https://arxiv.org/abs/2012.11747"
        ),
    )
    example = {"kind": "score_residual"}
    variants = ({"kind": "score_residual", "trained": True},)
    hands_on = True

    kind: Literal["score_residual"] = "score_residual"
    trained: Flag = False
    """Whether each head learns how far the scores below count, starting at 1; frozen, they count
    as they are."""

    def copies_at(self, at: Place) -> int:
        return self.copies + at.scores_below

    def params(self, at: Place, heads: int) -> int:
        return heads if self.trained and at.scores_below else 0

    def weights_plan(self, at: Place, heads: int) -> Call:
        if not at.scores_below:
            return Call(f"{MODULE}:FirstScores")
        if self.trained:
            return Call(f"{MODULE}:TrainedScoreResidual", {"heads": heads})
        return Call(f"{MODULE}:ScoreResidual")
