"""Gated linear attention (arXiv 2312.06635).

B batch, T time, D width, H heads, K key width, V value width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm


class RecurrentState:
    """The matrix that a recurrence carries from token to token."""

    def __init__(self) -> None:
        self.length = 0  # tokens seen
        self.matrix: Tensor | None = None  # [B, H, K, V]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return 0 if self.matrix is None else self.matrix[0].numel()


class GatedLinear(nn.Module):
    """Linear attention in which every key channel fades by a gate of its own: [B, T, D] -> same."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        gate_rank: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.temperature = temperature
        self.query = nn.Linear(dim, heads * key_dim, bias=False)
        self.key = nn.Linear(dim, heads * key_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.forget_down = nn.Linear(dim, gate_rank, bias=False)
        self.forget_up = nn.Linear(gate_rank, heads * key_dim)
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head
        self.gate = nn.Linear(dim, heads * value_dim, bias=False)
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> RecurrentState:
        """What decoding carries from token to token."""
        return RecurrentState()

    def forward(self, x: Tensor, state: RecurrentState | None = None) -> Tensor:
        q = split_heads(self.query(x), self.key_dim) * self.key_dim**-0.5  # [B, H, T, K]
        k = split_heads(self.key(x), self.key_dim)
        v = split_heads(self.value(x), self.value_dim)  # [B, H, T, V]
        forget = split_heads(self.forget_up(self.forget_down(x)), self.key_dim)
        # the temperature keeps gates near one, so that the memory starts out long
        log_decay = F.logsigmoid(forget) / self.temperature  # [B, H, T, K]
        before = None if state is None else state.matrix
        o, after = linear_attention(q, k, v, log_decay, before)  # [B, H, T, V]
        if state is not None:
            state.matrix = after
            state.length += x.shape[1]
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(F.silu(self.gate(x)) * o)
