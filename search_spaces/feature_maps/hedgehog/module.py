"""Learned features of linear attention, one map for each head (arXiv 2402.04347).

B batch, H heads, T time, K head width
"""

import torch
from torch import Tensor, nn


class HeadLinear(nn.Module):
    """A square matrix and a bias of its own for each head: [B, H, T, K] -> same."""

    def __init__(self, *, heads: int, width: int) -> None:
        super().__init__()
        # starts out as the identity, so that q.k is what the features first see
        self.weight = nn.Parameter(torch.eye(width).repeat(heads, 1, 1))
        self.bias = nn.Parameter(torch.zeros(heads, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.mT + self.bias


class HedgehogSoftmax(nn.Module):
    """[softmax(Wx + b), softmax(-Wx - b)] for q and k [B, H, T, K]: [B, H, T, 2K]"""

    def __init__(self, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.query = HeadLinear(heads=heads, width=head_dim)
        self.key = HeadLinear(heads=heads, width=head_dim)

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        q, k = self.query(q), self.key(k)
        return (
            torch.cat((q.softmax(-1), (-q).softmax(-1)), dim=-1),
            torch.cat((k.softmax(-1), (-k).softmax(-1)), dim=-1),
        )


class HedgehogExp(nn.Module):
    """[exp(Wx + b), exp(-Wx - b)] for q and k [B, H, T, K]: [B, H, T, 2K]"""

    def __init__(self, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.query = HeadLinear(heads=heads, width=head_dim)
        self.key = HeadLinear(heads=heads, width=head_dim)

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        q, k = self.query(q), self.key(k)
        return torch.cat((q, -q), dim=-1).exp(), torch.cat((k, -k), dim=-1).exp()
