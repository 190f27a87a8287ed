"""Softmax over the visible keys (arXiv 1706.03762)."""

import torch
from torch import Tensor, nn


class Softmax(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S], each row summing to one."""

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        lowest = torch.finfo(scores.dtype).min  # minus infinity would make empty rows undefined
        return scores.masked_fill(~visible, lowest).softmax(-1) * visible
