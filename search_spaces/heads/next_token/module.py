"""Logits of the next token: [B, T, D] -> [B, T, V]."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class TiedHead(nn.Module):
    """Logits with the embedding's own matrix."""

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return F.linear(x, embedding.token.weight)


class Head(nn.Module):
    """Logits with a matrix of their own."""

    def __init__(self, *, dim: int, vocab: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, vocab, bias=False)

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return self.out(x)
