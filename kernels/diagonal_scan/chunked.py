"""A linear recurrence on each channel, with as many chunks of time at once as keep a device busy.

Shapes: B batch, T time, C channels, N chunks, L chunk length.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

SCAN_VALUES_CPU = 2**15  # values at a time that hide the cost of a call, and still fit the cache
SCAN_VALUES_GPU = 2**21


def diagonal_scan(x: Tensor, decay: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``h_t = decay_t * h_{t-1} + x_t`` on each channel.

    x [B, T, C]; decay broadcastable to it, of magnitude up to 1; state [B, C] or None for zeros.
    Returns h [B, T, C] in x's dtype and the last h.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    batch, time, channels = x.shape
    if state is None:
        state = x.new_zeros(batch, channels)
    values = SCAN_VALUES_CPU if x.device.type == "cpu" else SCAN_VALUES_GPU
    chunks = min(values // (batch * channels), math.isqrt(time))
    added, state = x.to(dtype), state.to(dtype)
    decay = decay.to(dtype).expand(-1, time, -1)
    if chunks < 2:
        h, last = _scan_steps(added, decay, state)
    else:
        h, last = _scan_chunks(added, decay, state, -(-time // chunks))
    return h.to(x.dtype), last


def _scan_steps(x: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    seen = []
    for x_t, decay_t in zip(x.unbind(1), decay.unbind(1), strict=True):
        state = torch.addcmul(x_t, decay_t, state)
        seen.append(state)
    return torch.stack(seen, dim=1), state


def _scan_chunks(x: Tensor, decay: Tensor, state: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """All chunks from zero at once, then from chunk to chunk. Only products of decays occur and no
    quotients, so that strong decays are as safe as weak ones."""
    time = x.shape[1]
    added, factors = _scan_split(x, length, 0.0), _scan_split(decay, length, 1.0)
    h, fade = added[:, :, 0], factors[:, :, 0]  # [B, N, C]
    inside, fades = [h], [fade]
    for x_t, decay_t in zip(added.unbind(2)[1:], factors.unbind(2)[1:], strict=True):
        h = torch.addcmul(x_t, decay_t, h)
        fade = fade * decay_t
        inside.append(h)
        fades.append(fade)
    before = []
    for h_end, fade_end in zip(h.unbind(1), fade.unbind(1), strict=True):
        before.append(state)
        state = torch.addcmul(h_end, fade_end, state)
    carried = torch.stack(before, dim=1).unsqueeze(2)  # [B, N, 1, C]
    whole = torch.addcmul(torch.stack(inside, dim=2), torch.stack(fades, dim=2), carried)
    return whole.flatten(1, 2)[:, :time], state


def _scan_split(x: Tensor, length: int, filler: float) -> Tensor:
    """[B, T, C] to [B, N, L, C]; the steps added at the end keep the state."""
    extra = -x.shape[1] % length
    if extra:
        x = pad(x, (0, 0, 0, extra), value=filler)
    return x.unflatten(1, (-1, length))
