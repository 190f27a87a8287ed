"""Clipped softmax over the visible keys (arXiv 2306.12929)."""

import torch
from torch import Tensor, nn


class ClippedSoftmax(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]: softmax stretched to
    [-alpha / visible keys, zeta] and clipped to [0, 1]."""

    def __init__(self, *, alpha: float, zeta: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.zeta = zeta

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        lowest = torch.finfo(scores.dtype).min  # minus infinity would make empty rows undefined
        weights = scores.masked_fill(~visible, lowest).softmax(-1)
        keys = visible.sum(-1, keepdim=True).clamp_min(1)  # [T, 1]
        gamma = -self.alpha / keys.to(weights.dtype)
        stretched = (self.zeta - gamma) * weights + gamma
        return stretched.clamp(0.0, 1.0) * visible
