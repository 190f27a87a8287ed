"""A linear recurrence on each channel by its definition: one step of time after another.

Shapes: B batch, T time, C channels.
"""

import torch
from torch import Tensor


def diagonal_scan(x: Tensor, decay: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``h_t = decay_t * h_{t-1} + x_t``; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    added, factors = x.to(dtype), decay.to(dtype).expand_as(x)
    h = added.new_zeros(x.shape[0], x.shape[2]) if state is None else state.to(dtype)
    seen = []
    for x_t, decay_t in zip(added.unbind(1), factors.unbind(1), strict=True):
        h = decay_t * h + x_t
        seen.append(h)
    return torch.stack(seen, dim=1).to(x.dtype), h
