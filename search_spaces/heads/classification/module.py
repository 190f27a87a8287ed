"""Logits of the class of a whole sequence (arXiv 1810.04805): [B, T, D] -> [B, classes]."""

from typing import Any

from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """Logits from what `pool` makes of a sequence."""

    def __init__(self, *, dim: int, classes: int, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.out = nn.Linear(dim, classes)

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return self.out(self.pool(x))


class Pooler(nn.Module):
    """A dense layer and tanh on the pooled state: [B, T, D] -> [B, D]."""

    def __init__(self, *, dim: int, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.dense = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.pool(x)).tanh()


class MeanToken(nn.Module):
    """The mean of all tokens: [B, T, D] -> [B, D]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class FirstToken(nn.Module):
    """The first token: [B, T, D] -> [B, D]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]
