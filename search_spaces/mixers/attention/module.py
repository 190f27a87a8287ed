"""Softmax attention with grouped keys and values (arXiv 1706.03762, 2305.13245).

B batch, T time, S keys held, H query heads, G key and value heads, K head width
"""

from typing import Any

from torch import Tensor, nn


class Attention(nn.Module):
    """Softmax attention. groups = heads is MHA, groups = 1 is MQA, between them GQA.

    [B, T, D] -> [B, T, D]; `scope` says which keys a query sees, and weighs them.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        groups: int,
        head_dim: int,
        bias: bool,
        position: nn.Module,
        scope: Any,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, groups * head_dim, bias=bias)
        self.value = nn.Linear(dim, groups * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, dim, bias=bias)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        q = self.position(split_heads(self.query(x), self.head_dim), start)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)  # [B, G, T, K]
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, G, S, K]
        return self.out(self.scope(q, k, v, start).transpose(1, 2).flatten(2))


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, T, H * K] -> [B, H, T, K]"""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)
