"""Window attention and gated linear attention side by side (arXiv 2503.01496).

B batch, T time, D width, H query heads, G key and value heads, K head width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.pieces.attend.module import repeat_heads


class LigerState:
    """The window's keys and values, and the matrix of the recurrence."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.matrix: Tensor | None = None  # [B, H, K, K]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        matrix = 0 if self.matrix is None else self.matrix[0].numel()
        return int(self.cache.values_held()) + matrix


class Liger(nn.Module):
    """Both branches read the same queries, keys and values: [B, T, D] -> [B, T, D]"""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        groups: int,
        head_dim: int,
        position: nn.Module,
        scope: Any,
        gate: nn.Module,
        mixture: nn.Module,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.gate = gate
        self.mixture = mixture
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, groups * head_dim, bias=False)
        self.value = nn.Linear(dim, groups * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def empty_state(self) -> LigerState:
        """What decoding carries from token to token."""
        return LigerState(self.scope.empty_cache())

    def forward(self, x: Tensor, state: LigerState | None = None) -> Tensor:
        q = split_heads(self.query(x), self.head_dim)  # [B, H, T, K]
        k = split_heads(self.key(x), self.head_dim)  # [B, G, T, K]
        v = split_heads(self.value(x), self.head_dim)
        log_decay = self.gate(x, k)  # [B, G, T, K]
        near = self.attend(q, k, v, None if state is None else state.cache)
        far = self.recur(q, k, v, log_decay, state)
        return self.out(self.mixture(near, far).transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, cache: Any) -> Tensor:
        """Softmax over the window, with rotary positions."""
        start = 0 if cache is None else cache.length
        q, k = self.position(q, start), self.position(k, start)
        if cache is not None:
            k, v = cache.append(k, v)
        return self.scope(q, k, v, start)

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: LigerState | None
    ) -> Tensor:
        """The gated recurrence; a softmax over channels makes features of queries and keys."""
        k, v = repeat_heads(k.softmax(-1), self.heads), repeat_heads(v, self.heads)
        log_decay = repeat_heads(log_decay, self.heads)
        before = None if state is None else state.matrix
        o, after = linear_attention(q.softmax(-1), k, v, log_decay, before)
        if state is not None:
            state.matrix = after
        return o


class KeyGate(nn.Module):
    """Gates without parameters: log sigmoid(k) / temperature, [B, G, T, K]."""

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return F.logsigmoid(k) / self.temperature


class ProjectedGate(nn.Module):
    """Gates from a projection of their own: x [B, T, D], k [B, G, T, K] -> [B, G, T, K]."""

    def __init__(self, *, dim: int, width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.forget = nn.Linear(dim, width, bias=False)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return F.logsigmoid(split_heads(self.forget(x), k.shape[-1])) / self.temperature


class HalfAndHalf(nn.Module):
    """The mean of both branches [B, H, T, K]."""

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        return (near + far) / 2


class LearnedShare(nn.Module):
    """Each head takes a learned share of the window: two of [B, H, T, K] -> [B, H, T, K]."""

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        return far + self.logit.sigmoid() * (near - far)
