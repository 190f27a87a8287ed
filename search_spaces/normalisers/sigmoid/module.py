"""Sigmoid attention weights (arXiv 2409.04431)."""

import torch
from torch import Tensor, nn


class SigmoidWeights(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S], each key for itself."""

    def __init__(self, *, bias: float) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        return (scores + self.bias).sigmoid() * visible


class SigmoidByCount(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]; the bias is minus the logarithm
    of the number of keys that a query sees."""

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        keys = visible.sum(-1, keepdim=True).clamp_min(1)  # [T, 1]
        return (scores - keys.to(scores.dtype).log()).sigmoid() * visible


class SigmoidLearned(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]; all heads share one bias."""

    def __init__(self, *, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([bias]))

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        return (scores + self.bias.to(scores.dtype)).sigmoid() * visible
