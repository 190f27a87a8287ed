"""Attention over projected keys and values (Linformer, arXiv 2006.04768).

B batch, T time, N most tokens, D width, H heads, K head width, R rank
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class LowRankAttention(nn.Module):
    """Every token attends to R sums over the whole sequence: [B, T, D] -> [B, T, D], T <= N.

    `to_rank` maps keys and values [B, H, T, K] to [B, H, R, K]. A longer input is a ValueError.
    """

    def __init__(self, *, dim: int, heads: int, head_dim: int, to_rank: nn.Module) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_rank = to_rank
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        q = split_heads(self.query(x), self.head_dim)  # [B, H, T, K]
        k = split_heads(self.key(x), self.head_dim)
        v = split_heads(self.value(x), self.head_dim)
        k, v = self.to_rank(k, v)  # [B, H, R, K]
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class LengthProjection(nn.Module):
    """Sums over the sequence with learned weights, one for each of N places, R times: keys and
    values [B, H, T, K] -> [B, H, R, K].

    `heads` is the number of matrices for the keys, and again for the values: one for each head, or
    one for all of them.
    """

    def __init__(self, *, max_tokens: int, rank: int, heads: int) -> None:
        super().__init__()
        # sums of N like numbers keep their size
        self.keys = nn.Parameter(torch.randn(heads, rank, max_tokens) * max_tokens**-0.5)
        self.values = nn.Parameter(torch.randn(heads, rank, max_tokens) * max_tokens**-0.5)

    def forward(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return sum_over_length(self.keys, keys), sum_over_length(self.values, values)


class OneLengthProjection(nn.Module):
    """As `LengthProjection`, with one matrix for the keys and values of all heads."""

    def __init__(self, *, max_tokens: int, rank: int) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.randn(1, rank, max_tokens) * max_tokens**-0.5)

    def forward(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return sum_over_length(self.both, keys), sum_over_length(self.both, values)


def sum_over_length(weight: Tensor, x: Tensor) -> Tensor:
    """weight [H or 1, R, N], x [B, H, T, K] -> [B, H, R, K]; a shorter x uses the first places."""
    time, most = x.shape[2], weight.shape[2]
    if time > most:
        raise ValueError(
            f"{time} tokens are more than the {most} that the projection has weights for"
        )
    return weight[:, :, :time] @ x
