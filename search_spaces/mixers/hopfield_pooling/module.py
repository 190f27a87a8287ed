"""Pooling by learned states, which every token then reads (arXiv 2008.02217).

B batch, T time, D width, H heads, P learned states, K head width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class HopfieldPooling(nn.Module):
    """P learned states of each head retrieve from all tokens, `steps` times, and every token
    retrieves from what they found: [B, T, D] -> [B, T, D]."""

    def __init__(
        self, *, dim: int, heads: int, head_dim: int, states: int, steps: int, beta: nn.Module
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.steps = steps
        self.beta = beta
        self.states = nn.Parameter(torch.randn(heads, states, head_dim))
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        q = split_heads(self.query(x), self.head_dim)  # [B, H, T, K]
        k = split_heads(self.key(x), self.head_dim)
        v = split_heads(self.value(x), self.head_dim)
        pooled_k, pooled_v = self.pool(k, v)
        y = F.scaled_dot_product_attention(self.beta(q), pooled_k, pooled_v)
        return self.out(y.transpose(1, 2).flatten(2))

    def pool(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens to those of the states, [B, H, P, K] each."""
        state = self.states.to(k.dtype).repeat(len(k), 1, 1, 1)
        for _ in range(self.steps - 1):
            state = F.scaled_dot_product_attention(self.beta(state), k, k)
        found = F.scaled_dot_product_attention(self.beta(state), k, torch.cat((k, v), dim=-1))
        pooled_k, pooled_v = found.chunk(2, dim=-1)
        return pooled_k, pooled_v
