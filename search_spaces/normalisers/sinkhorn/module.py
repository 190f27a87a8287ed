"""Sinkhorn normalisation of attention (arXiv 2110.11773)."""

import torch
from torch import Tensor, nn

SINKHORN_HIDDEN = -1e30
"""Score of a hidden key: finite, so that an empty row or column has a logarithm."""


class SinkhornWeights(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]: rows and columns of exp(scores)
    are divided by their sums in turn, in logarithms."""

    def __init__(self, *, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        logs = scores.to(torch.promote_types(scores.dtype, torch.float32))
        for step in range(self.steps):
            logs = logs.masked_fill(~visible, SINKHORN_HIDDEN)
            logs = logs - logs.logsumexp(-1 - step % 2, keepdim=True)
        return logs.exp().masked_fill(~visible, 0.0).to(scores.dtype)
