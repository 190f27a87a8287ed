"""ReLU attention weights (arXiv 2309.08586)."""

from torch import Tensor, nn


class ReluWeights(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S], zero or more."""

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        keys = visible.sum(-1, keepdim=True).clamp_min(1)  # [T, 1]
        return scores.relu() * visible / keys.to(scores.dtype)
