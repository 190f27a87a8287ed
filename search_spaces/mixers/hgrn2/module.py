"""HGRN2: gated linear recurrence with state expansion (arXiv 2404.07904).

B batch, T time, D width, H heads, K key width, V value width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried


class HGRN2(nn.Module):
    """Linear attention whose keys are what the forget gates let go: [B, T, D] -> [B, T, D]."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        forget: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.query = nn.Linear(dim, heads * key_dim, bias=False)
        self.forget = forget
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.norm = RMSNorm(dim=heads * value_dim)
        self.output_gate = output_gate
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        q = split_heads(F.silu(self.query(x)), self.key_dim)  # [B, H, T, K]
        forget = split_heads(self.forget(x), self.key_dim)
        v = split_heads(self.value(x), self.value_dim)  # [B, H, T, V]
        before = None if state is None else state.get("matrix")
        o, after = linear_attention(q, 1.0 - forget, v, forget.log(), before)
        if state is not None:
            state.tensors["matrix"] = after
            state.length += x.shape[1]
        o = self.norm(o.transpose(1, 2).flatten(2))  # [B, T, H * V]
        return self.out(self.output_gate(o, x))
