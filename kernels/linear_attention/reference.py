"""Linear attention by its definition: one step of time after another.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

import torch
from torch import Tensor


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T`` and ``o_t = S_t^T q_t``; see ``api``."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    batch, heads, time, key_dim = q.shape
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    decay = log_decay.to(dtype).exp().expand(batch, heads, time, -1)  # [B, H, T, K or 1]
    if state is None:
        state = values.new_zeros(batch, heads, key_dim, v.shape[-1])
    state = state.to(dtype)  # [B, H, K, V]
    outputs = []
    for q_t, k_t, v_t, decay_t in zip(*(x.unbind(2) for x in (q, k, values, decay)), strict=True):
        state = decay_t.unsqueeze(-1) * state + torch.einsum("bhk,bhv->bhkv", k_t, v_t)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q_t))
    return torch.stack(outputs, dim=2).to(v.dtype), state
