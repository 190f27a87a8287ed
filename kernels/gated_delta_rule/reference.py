"""The gated delta rule by its definition: one step of time after another.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

import torch
from torch import Tensor


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T``; see ``api``."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    batch, heads, time, key_dim = q.shape
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    decay = log_decay.to(dtype).exp().expand(batch, heads, time)
    beta = beta.to(dtype).expand(batch, heads, time)
    identity = torch.eye(key_dim, dtype=dtype, device=q.device)
    if state is None:
        state = values.new_zeros(batch, heads, key_dim, v.shape[-1])
    state = state.to(dtype)  # [B, H, K, V]
    outputs = []
    for t in range(time):
        rate = beta[:, :, t, None, None]  # [B, H, 1, 1]
        erase = torch.einsum("bhi,bhj->bhij", k[:, :, t], k[:, :, t])  # [B, H, K, K]
        write = torch.einsum("bhk,bhv->bhkv", k[:, :, t], values[:, :, t])
        state = decay[:, :, t, None, None] * ((identity - rate * erase) @ state) + rate * write
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, :, t]))
    return torch.stack(outputs, dim=2).to(v.dtype), state
