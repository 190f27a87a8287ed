"""Multi-scale retention (arXiv 2307.08621).

B batch, T time, D width, H heads, K key width, V value width
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.mixers.gated_linear.module import RecurrentState


class Retention(nn.Module):
    """Linear attention in which head h fades by 1 - 2^(-5 - h) per token: [B, T, D] -> same."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        position: nn.Module,
        norm: nn.Module,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.position = position
        self.query = nn.Linear(dim, heads * key_dim, bias=False)
        self.key = nn.Linear(dim, heads * key_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.norm = norm
        self.gate = nn.Linear(dim, heads * value_dim, bias=False)
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> RecurrentState:
        """What decoding carries from token to token."""
        return RecurrentState()

    def forward(self, x: Tensor, state: RecurrentState | None = None) -> Tensor:
        offset = 0 if state is None else state.length
        q = self.position(split_heads(self.query(x), self.key_dim), offset)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.key_dim), offset)
        v = split_heads(self.value(x), self.value_dim)  # [B, H, T, V]
        before = None if state is None else state.matrix
        o, after = linear_attention(q * self.key_dim**-0.5, k, v, self.log_decay(x), before)
        if state is not None:
            state.matrix = after
            state.length += x.shape[1]
        # each head by itself, since heads that fade at different rates differ in size
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(F.silu(self.gate(x)) * o)

    def log_decay(self, x: Tensor) -> Tensor:
        """The same for all tokens, in float32 since the last heads hardly fade: [1, H, 1, 1]"""
        head = torch.arange(self.heads, device=x.device, dtype=torch.float32)
        return torch.log1p(-(2.0 ** (-5.0 - head)))[None, :, None, None]
