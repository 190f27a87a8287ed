"""Static expansion of a sequence to a fixed number of vectors and back (arXiv 2208.06551).

B batch, T time, D width, G groups, N vectors of each group
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StaticExpansion(nn.Module):
    """Tokens are gathered into learned vectors and handed back, once along positive scores and once
    along negative ones: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, groups: int, vectors: int) -> None:
        super().__init__()
        self.groups = groups
        self.query = nn.Parameter(torch.randn(groups * vectors, dim))
        self.offset = nn.Parameter(torch.randn(groups * vectors, dim))
        self.key = nn.Linear(dim, dim)
        self.positive = nn.Linear(dim, dim)
        self.negative = nn.Linear(dim, dim)
        self.selector = nn.Linear(dim, dim)

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        scores = self.query @ self.key(x).mT * x.shape[2] ** -0.5  # [B, G * N, T]
        along = self.expand_and_return(F.relu(scores), self.positive(x))
        against = self.expand_and_return(F.relu(-scores), self.negative(x))
        share = self.selector(x).sigmoid()
        return share * along + (1 - share) * against

    def expand_and_return(self, weights: Tensor, values: Tensor) -> Tensor:
        """weights [B, G * N, T] at least 0, values [B, T, D] -> [B, T, D]"""
        expanded = normalised(weights) @ values + self.offset  # [B, G * N, D]
        back = normalised(weights.mT.unflatten(2, (self.groups, -1)))  # over each group
        return back.flatten(2) @ expanded / self.groups


def normalised(weights: Tensor) -> Tensor:
    """weights / their sum over the last axis, and zero where all are."""
    return weights / (weights.sum(dim=-1, keepdim=True) + 1e-9)
