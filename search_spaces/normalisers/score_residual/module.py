"""Softmax of scores plus those of the attention below (arXiv 2012.11747).

B batch, H heads, T queries, S keys
"""

from typing import Any

import torch
from torch import Tensor, nn


class FirstScores(nn.Module):
    """Softmax over the visible keys: scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S].
    Scores are kept for the layer above, if one adds them, until it takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = False
        self.kept: Tensor | None = None

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        if self.is_awaited:
            self.kept = scores
        lowest = torch.finfo(scores.dtype).min  # minus infinity would make empty rows undefined
        return scores.masked_fill(~visible, lowest).softmax(-1) * visible

    def take(self) -> Tensor:
        """The scores of this forward pass, which are not kept any longer."""
        kept, self.kept = self.kept, None
        assert kept is not None, "the layer below has not run in this forward pass"
        return kept


class ScoreResidual(FirstScores):
    """The same of the scores plus those below."""

    below: tuple[FirstScores, ...] = ()  # in a tuple, so that it is no submodule of two layers

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        return super().forward(scores + self.residual(self.below[0].take()), visible)

    def residual(self, scores: Tensor) -> Tensor:
        """What is added: [B, H, T, S]."""
        return scores


class TrainedScoreResidual(ScoreResidual):
    """The same with a learned share of the scores below for each head."""

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.ones(heads, 1, 1))

    def residual(self, scores: Tensor) -> Tensor:
        return self.share.to(scores.dtype) * scores


def hand_scores_on(
    blocks: tuple[nn.Module, ...], pairs: tuple[tuple[int, int], ...]
) -> tuple[nn.Module, ...]:
    """The blocks, after the attention of the lower one of each pair was told to keep its scores for
    that of the upper one."""
    for lower, upper in pairs:
        below, above = first_scores(blocks[lower]), first_scores(blocks[upper])
        below.is_awaited = True
        above.below = (below,)
    return blocks


def first_scores(block: nn.Module) -> Any:
    """The normaliser of a block's attention."""
    return next(module for module in block.modules() if isinstance(module, FirstScores))
