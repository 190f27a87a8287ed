"""The delta rule with a decay per key channel in chunks of time, by the WY form.

Shapes: B batch, H heads, T time, K key width, V value width, N chunks, C chunk length.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

CHANNEL_DELTA_CHUNK = 16  # short, to keep the exponents in range


def channel_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = (I - beta_t k_t k_t^T) diag(exp(g_t)) S_{t-1} + beta_t k_t v_t^T``, o_t = S_t^T q_t.

    q, k [B, H, T, K], k of length 1 at most; v [B, H, T, V]; log_decay g, at most 0, broadcastable
    to [B, H, T, K]; beta, in [0, 2], broadcastable to [B, H, T]; state [B, H, K, V] or None for
    zeros. Returns o [B, H, T, V] in v's dtype and the last state. Good for g >= -10 in float32.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = v.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    q, k, values, state = q.to(dtype), k.to(dtype), v.to(dtype), state.to(dtype)
    log_decay, beta = log_decay.to(dtype).expand_as(k), beta.to(dtype).unsqueeze(-1)
    run = _channel_delta_step if q.shape[2] == 1 else _channel_delta_chunks
    o, state = run(q, k, values, log_decay, beta, state)
    return o.to(v.dtype), state


def _channel_delta_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    state = log_decay.exp().mT * state
    state = torch.addcmul(state, k.mT, beta * (v - k @ state))
    return q @ state, state


def _channel_delta_chunks(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    time = q.shape[2]
    length = min(time, CHANNEL_DELTA_CHUNK)
    beta = beta.expand(-1, -1, time, -1)
    q, k, v, log_decay, beta = (_channel_split(x, length) for x in (q, k, v, log_decay, beta))
    total = log_decay.cumsum(3)  # [B, H, N, C, K]
    last = total[:, :, :, -1:]

    # Inside a chunk S_t = exp(total_t) S + sum_{s<=t} exp(total_t - total_s) k_s u_s^T, where the
    # corrections u solve (I + lower) u = beta (v - exp(total) k S). The decay between two times is
    # split into two factors around the middle; either may be huge, and tril drops any overflow.
    # The middle cancels out of every result, so that no gradient needs to pass it.
    middle = ((total[:, :, :, :1] + last) / 2).detach()
    since, until = (total - middle).exp(), k * (middle - total).exp()
    scores = ((q * since) @ until.mT).tril()  # [B, H, N, C, C]
    pairs = (beta * since * k) @ until.mT
    inverse = _channel_inverse(pairs.to(k.dtype))  # autocast makes the product bfloat16
    from_v, from_k = inverse @ (beta * v), inverse @ (beta * total.exp() * k)
    q, k = q * total.exp(), (k * (last - total).exp()).mT
    corrections, before = [], []
    chunks = (x.unbind(2) for x in (from_v, from_k, k, last.exp().mT))
    for value, key, write, fade in zip(*chunks, strict=True):
        correction = value - key @ state  # [B, H, C, V]
        corrections.append(correction)
        before.append(state)
        state = fade * state + write @ correction
    o = scores @ torch.stack(corrections, dim=2) + q @ torch.stack(before, dim=2)
    return o.flatten(2, 3)[:, :, :time], state


def _channel_inverse(pairs: Tensor) -> Tensor:
    """Inverse of I + pairs below the diagonal."""
    lower = pairs.tril(-1)
    eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device).expand_as(lower)
    inverse: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False, unitriangular=True)
    return inverse


def _channel_split(x: Tensor, length: int) -> Tensor:
    """[B, H, T, D] to [B, H, N, C, D]; zeros at the end change neither outputs nor state."""
    extra = -x.shape[2] % length
    if extra:
        x = pad(x, (0, 0, 0, extra))
    return x.contiguous().view(*x.shape[:2], -1, length, x.shape[3])
