"""Logits of the next token: [B, T, D] -> [B, T, V]."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_cross_entropy.api import linear_cross_entropy


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


class LargeTiedHead(TiedHead):
    """The same for a large vocabulary, whose logits training never holds all at once."""

    def loss(self, x: Tensor, embedding: Any, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats: x [B, T, D], targets [B, T]; -100 does not count."""
        return linear_cross_entropy(x, embedding.token.weight, targets)


class LargeHead(Head):
    """The same for a large vocabulary, whose logits training never holds all at once."""

    def loss(self, x: Tensor, embedding: Any, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats: x [B, T, D], targets [B, T]; -100 does not count."""
        return linear_cross_entropy(x, self.out.weight, targets)
