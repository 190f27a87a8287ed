"""Retrieval from learned patterns (arXiv 2008.02217).

B batch, T time, D width, H heads, P patterns, K head width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class HopfieldLookup(nn.Module):
    """Each token retrieves from P learned patterns of each head, `steps` times, the last time
    their values: [B, T, D] -> [B, T, D]. Tokens do not see each other."""

    def __init__(
        self, *, dim: int, heads: int, head_dim: int, patterns: int, steps: int, beta: nn.Module
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.steps = steps
        self.beta = beta
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.keys = nn.Parameter(torch.randn(heads, patterns, head_dim))
        self.values = nn.Parameter(torch.randn(heads, patterns, head_dim))
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def empty_state(self) -> None:
        """Nothing is carried."""
        return None

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        pattern = split_heads(self.query(x), self.head_dim)  # [B, H, T, K]
        k, v = (stored.expand(len(x), -1, -1, -1) for stored in (self.keys, self.values))
        for _ in range(self.steps - 1):
            pattern = F.scaled_dot_product_attention(self.beta(pattern), k, k)
        y = F.scaled_dot_product_attention(self.beta(pattern), k, v)
        return self.out(y.transpose(1, 2).flatten(2))
