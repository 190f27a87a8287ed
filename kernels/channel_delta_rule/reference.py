"""The delta rule with a decay per key channel by its definition: one step after another.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

import torch
from torch import Tensor


def channel_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = (I - beta_t k_t k_t^T) diag(exp(g_t)) S_{t-1} + beta_t k_t v_t^T``; see ``api``."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    batch, heads, time, key_dim = q.shape
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    decay = log_decay.to(dtype).exp().expand(batch, heads, time, key_dim)
    beta = beta.to(dtype).expand(batch, heads, time)[..., None, None]  # [B, H, T, 1, 1]
    identity = torch.eye(key_dim, dtype=dtype, device=q.device)
    if state is None:
        state = values.new_zeros(batch, heads, key_dim, v.shape[-1])
    state = state.to(dtype)  # [B, H, K, V]
    outputs = []
    steps = (x.unbind(2) for x in (q, k, values, decay, beta))
    for q_t, k_t, v_t, decay_t, beta_t in zip(*steps, strict=True):
        erase = beta_t * torch.einsum("bhi,bhj->bhij", k_t, k_t)  # [B, H, K, K]
        write = beta_t * torch.einsum("bhk,bhv->bhkv", k_t, v_t)
        state = (identity - erase) @ torch.diag_embed(decay_t) @ state + write
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q_t))
    return torch.stack(outputs, dim=2).to(v.dtype), state
