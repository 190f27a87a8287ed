"""Features whose product is the second-order Taylor series of exp (arXiv 2402.18668)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TaylorFeatures(nn.Module):
    """1, every channel, and every product of two channels, of q and k [B, H, T, K].

    The product of two features is 1 + s + s^2 / 2 with s = q.k / sqrt(K). Products of channels a, b
    and b, a are kept once: [B, H, T, 1 + K + K (K + 1) / 2]
    """

    left: Tensor
    right: Tensor

    def __init__(self, *, head_dim: int) -> None:
        super().__init__()
        self.scale = head_dim**-0.25
        left, right = torch.triu_indices(head_dim, head_dim)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return self.expand(q * self.scale), self.expand(k * self.scale)

    def expand(self, x: Tensor) -> Tensor:
        """1, channels, and products of channels."""
        products = x.index_select(-1, self.left) * x.index_select(-1, self.right)
        # of s^2 / 2 squares count half; the others stand for two equal products
        products = torch.where(self.left == self.right, products * math.sqrt(0.5), products)
        return torch.cat((F.pad(x, (1, 0), value=1.0), products), dim=-1)
