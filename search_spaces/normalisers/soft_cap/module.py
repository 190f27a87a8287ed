"""Softmax of capped scores (arXiv 2408.00118)."""

import torch
from torch import Tensor, nn


class SoftCap(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S], each row summing to one."""

    def __init__(self, *, cap: float) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        capped = self.cap * (scores / self.cap).tanh()
        lowest = torch.finfo(scores.dtype).min  # minus infinity would make empty rows undefined
        return capped.masked_fill(~visible, lowest).softmax(-1) * visible
