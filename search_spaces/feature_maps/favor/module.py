"""Positive orthogonal random features of the softmax kernel (arXiv 2009.14794).

B batch, H heads, T time, K head width, M random directions
"""

import torch
from torch import Tensor, nn


class RandomFeatures(nn.Module):
    """exp(w.x - |x|^2 / 2) / sqrt(M) of q and k [B, H, T, K] / K^(1/4): [B, H, T, M]

    The expected product of two features is exp(q.k / sqrt(K)). The directions are drawn once and
    are not trained.
    """

    directions: Tensor

    def __init__(self, *, head_dim: int, random_features: int) -> None:
        super().__init__()
        self.scale = head_dim**-0.25
        self.register_buffer("directions", orthogonal_directions(random_features, head_dim))

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return self.random_features(q * self.scale), self.random_features(k * self.scale)

    def random_features(self, x: Tensor) -> Tensor:
        """[B, H, T, K] -> [B, H, T, M]"""
        # no maximum is subtracted, as it would have to know the tokens to come; the exponent is
        # bounded by |w|^2 / 2, about K / 2
        exponent = x @ self.directions.mT - x.square().sum(-1, keepdim=True) / 2
        return exponent.exp() * len(self.directions) ** -0.5


def orthogonal_directions(count: int, width: int) -> Tensor:
    """Gaussian vectors [count, width] of which each `width` in a row are orthogonal."""
    blocks = [torch.linalg.qr(torch.randn(width, width))[0].mT for _ in range(-(-count // width))]
    length = torch.randn(count, width).norm(dim=-1, keepdim=True)  # as long as Gaussian vectors
    return torch.cat(blocks)[:count] * length
