"""Attention by its definition: all pairs, then a mask.

Shapes: B batch, H query heads, G key and value heads, T queries, S keys, Q chosen queries of a
head, K key width, V value width.
"""

import torch
from torch import Tensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """``o_t = sum_s w_ts v_s`` with w from the scores of the keys that t sees; see ``api``."""
    dtype = torch.promote_types(
        torch.promote_types(q.dtype, k.dtype), torch.promote_types(v.dtype, torch.float32)
    )
    shared = q.shape[1] // k.shape[1]
    keys = k.to(dtype).repeat_interleave(shared, dim=1)  # [B, H, S, K]
    values = v.to(dtype).repeat_interleave(shared, dim=1)
    scores = q.to(dtype) @ keys.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    time, held = scores.shape[2:]
    start = max(held - time, 0) if start is None else start
    seen = _visible(time, held, start, causal, window, sinks, q.device)  # [T, S]
    number = seen.sum(-1, keepdim=True).to(dtype)  # [T, 1]
    if normaliser == "sigmoid":
        weights = (scores + (-number.log() if bias is None else bias)).sigmoid() * seen
    else:
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    if normaliser == "clipped":
        gamma = -alpha / number
        weights = ((zeta - gamma) * weights + gamma).clamp(0.0, 1.0) * seen
    return (weights @ values).to(v.dtype)


def routed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of which only the chosen queries are kept, queries [B, H, Q]; see ``api``."""
    o = attention(
        q,
        k,
        v,
        bias,
        normaliser=normaliser,
        causal=causal,
        start=start,
        window=window,
        sinks=sinks,
        alpha=alpha,
        zeta=zeta,
        scale=scale,
    )
    time = torch.arange(q.shape[2], device=q.device)
    chosen = (queries.unsqueeze(-1) == time).any(dim=2)  # [B, H, T]
    return torch.where(chosen.unsqueeze(-1), o, 0.0)


def _visible(
    time: int,
    held: int,
    start: int,
    causal: bool,
    window: int | None,
    sinks: int,
    device: torch.device,
) -> Tensor:
    """Which keys each query sees: [T, S]."""
    behind = torch.arange(start, start + time, device=device)[:, None] - torch.arange(
        held, device=device
    )  # [T, S]
    seen = torch.ones_like(behind, dtype=torch.bool)
    if window is not None:
        seen = behind.abs() < window
        seen[:, :sinks] = True
    return seen & (behind >= 0) if causal else seen
