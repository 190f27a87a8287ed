"""Logits of masked tokens (arXiv 1810.04805): [B, T, D] -> [B, T, V]."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedTokenHead(nn.Module):
    """A dense layer, GELU and a layer norm before the logits."""

    def __init__(self, *, dim: int, head: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.head = head

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return self.head(self.norm(F.gelu(self.dense(x))), embedding)


class Biased(nn.Module):
    """A bias for each token of the vocabulary, which says how frequent it is."""

    def __init__(self, *, vocab: int, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return self.head(x, embedding) + self.bias
