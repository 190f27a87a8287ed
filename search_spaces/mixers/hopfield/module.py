"""Hopfield association: attention that retrieves more than once (arXiv 2008.02217).

B batch, T new tokens, S tokens held, D width, H heads, K head width
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class HopfieldAssociation(nn.Module):
    """Each token retrieves from the keys that it sees `steps` times, the last time their values:
    [B, T, D] -> [B, T, D]. With one step it is attention."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        steps: int,
        beta: nn.Module,
        position: nn.Module,
        scope: Any,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.steps = steps
        self.beta = beta
        self.position = position
        self.scope = scope
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        pattern = self.position(split_heads(self.query(x), self.head_dim), start)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, H, S, K]
        for _ in range(self.steps - 1):
            pattern = self.scope(self.beta(pattern), k, k, start)
        y = self.scope(self.beta(pattern), k, v, start)
        return self.out(y.transpose(1, 2).flatten(2))


class FixedBeta(nn.Module):
    """x [B, H, T, K] times beta, in units of 1 / sqrt(K), by which attention divides."""

    def __init__(self, *, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        return x * self.beta


class LearnedBeta(nn.Module):
    """As `FixedBeta` with a learned beta that starts there: one for each head, or one for all."""

    def __init__(self, *, beta: float, heads: int) -> None:
        super().__init__()
        # its logarithm, as a beta below zero would look for the least similar
        self.log_beta = nn.Parameter(torch.full((heads, 1, 1), math.log(beta)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_beta.exp().to(x.dtype)
