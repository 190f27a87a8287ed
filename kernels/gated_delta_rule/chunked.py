"""The gated delta rule in chunks of time, by the WY form of a product of rank-one corrections.

Shapes: B batch, H heads, T time, K key width, V value width, N chunks, C chunk length.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

DELTA_CHUNK = 32


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T``; ``o_t = S_t^T q_t``.

    q, k [B, H, T, K], k of length 1 at most; v [B, H, T, V]; log_decay g, at most 0, and beta, in
    [0, 2], broadcastable to [B, H, T]; state [B, H, K, V] or None for zeros. Returns o [B, H, T, V]
    in v's dtype and the last state.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = v.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    q, k, values, state = q.to(dtype), k.to(dtype), v.to(dtype), state.to(dtype)
    log_decay, beta = log_decay.to(dtype).unsqueeze(-1), beta.to(dtype).unsqueeze(-1)
    run = _delta_step if q.shape[2] == 1 else _delta_chunks
    o, state = run(q, k, values, log_decay, beta, state)
    return o.to(v.dtype), state


def _delta_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    state = log_decay.exp() * state
    state = torch.addcmul(state, k.mT, beta * (v - k @ state))
    return q @ state, state


def _delta_chunks(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    time = q.shape[2]
    length = min(time, DELTA_CHUNK)
    log_decay, beta = log_decay.expand(-1, -1, time, -1), beta.expand(-1, -1, time, -1)
    q, k, v, log_decay, beta = (_delta_split(x, length) for x in (q, k, v, log_decay, beta))
    total = log_decay.cumsum(3)  # [B, H, N, C, 1]
    last = total[:, :, :, -1:]
    between = _delta_pairwise(total)

    # Inside a chunk S_t = exp(total_t) S + sum_{s<=t} exp(total_t - total_s) k_s u_s^T, where the
    # corrections u solve (I + lower) u = beta (v - exp(total) k S); both sides of the minus sign
    # are solved for all chunks at once, and S comes in when the loop reaches its chunk.
    inverse = _delta_inverse(beta * (k @ k.mT) * between)
    from_v, from_k = inverse @ (beta * v), inverse @ (beta * total.exp() * k)
    scores = (q @ k.mT) * between  # [B, H, N, C, C]
    q, k = q * total.exp(), (k * (last - total).exp()).mT
    corrections, before = [], []
    chunks = (x.unbind(2) for x in (from_v, from_k, k, last.exp()))
    for value, key, write, fade in zip(*chunks, strict=True):
        correction = value - key @ state  # [B, H, C, V]
        corrections.append(correction)
        before.append(state)
        state = fade * state + write @ correction
    o = scores @ torch.stack(corrections, dim=2) + q @ torch.stack(before, dim=2)
    return o.flatten(2, 3)[:, :, :time], state


def _delta_inverse(lower: Tensor) -> Tensor:
    """Inverse of I + lower, of which only the part below the diagonal is read."""
    eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device).expand_as(lower)
    inverse: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False, unitriangular=True)
    return inverse


def _delta_split(x: Tensor, length: int) -> Tensor:
    """[B, H, T, D] to [B, H, N, C, D]; zeros at the end change neither outputs nor state."""
    extra = -x.shape[2] % length
    if extra:
        x = pad(x, (0, 0, 0, extra))
    return x.contiguous().view(*x.shape[:2], -1, length, x.shape[3])


def _delta_pairwise(total: Tensor) -> Tensor:
    """exp of the decay between two times of a chunk: [B, H, N, C, 1] to [B, H, N, C, C]."""
    length = total.shape[3]
    future = torch.ones(length, length, dtype=torch.bool, device=total.device).triu(1)
    return (total - total.mT).masked_fill_(future, -torch.inf).exp_()
