"""Linear attention in chunks of time: matrix products inside a chunk, a short loop between them.

Shapes: B batch, H heads, T time, K key width, V value width, N chunks, C chunk length.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

LINEAR_CHUNK = 32
LINEAR_CHANNEL_CHUNK = 16  # per-channel decay: shorter, to keep the exponents in range


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T`` and ``o_t = S_t^T q_t``.

    q, k [B, H, T, K]; v [B, H, T, V]; log_decay g, at most 0, broadcastable to [B, H, T, K]; state
    [B, H, K, V] or None for zeros. Returns o [B, H, T, V] in v's dtype and the last state.
    Per-channel decay is good for g >= -10 in float32 (any 16 steps in a row may sum to -160).
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = v.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    log_decay, state = log_decay.to(dtype), state.to(dtype)
    run = _linear_step if q.shape[2] == 1 else _linear_chunks
    o, state = run(q, k, values, log_decay, state)
    return o.to(v.dtype), state


def _linear_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    state = torch.addcmul(log_decay.exp().mT * state, k.mT, v)
    return q @ state, state


def _linear_chunks(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    time = q.shape[2]
    scalar = log_decay.shape[-1] == 1
    length = min(time, LINEAR_CHUNK if scalar else LINEAR_CHANNEL_CHUNK)
    log_decay = log_decay.expand(-1, -1, time, -1)
    q, k, v, log_decay = (_linear_split(x, length) for x in (q, k, v, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C, K or 1]
    last = total[:, :, :, -1:]
    if scalar:
        scores = (q @ k.mT) * _linear_pairwise(total)
        q, k = q * total.exp(), k * (last - total).exp()
    else:
        # Either factor alone may be huge; centring halves how huge, and tril drops any overflow.
        # The middle cancels out of every result, so that no gradient needs to pass it.
        middle = ((total[:, :, :, :1] + last) / 2).detach()
        q, k = q * (total - middle).exp(), k * (middle - total).exp()
        scores = (q @ k.mT).tril()
        q, k = q * middle.exp(), k * (last - middle).exp()
    writes = k.mT @ v  # [B, H, N, K, V]
    fades = last.exp().mT  # [B, H, N, K or 1, 1]
    before = []
    for write, fade in zip(writes.unbind(2), fades.unbind(2), strict=True):
        before.append(state)
        state = fade * state + write
    o = scores @ v + q @ torch.stack(before, dim=2)
    return o.flatten(2, 3)[:, :, :time], state


def _linear_split(x: Tensor, length: int) -> Tensor:
    """[B, H, T, D] to [B, H, N, C, D]; zeros at the end change neither outputs nor state."""
    extra = -x.shape[2] % length
    if extra:
        x = pad(x, (0, 0, 0, extra))
    return x.contiguous().view(*x.shape[:2], -1, length, x.shape[3])


def _linear_pairwise(total: Tensor) -> Tensor:
    """exp of the decay between two times of a chunk: [B, H, N, C, 1] to [B, H, N, C, C]."""
    length = total.shape[3]
    future = torch.ones(length, length, dtype=torch.bool, device=total.device).triu(1)
    return (total - total.mT).masked_fill_(future, -torch.inf).exp_()
