"""The selective scan of Mamba by its definition: one step of time after another.

Shapes: B batch, T time, E channels, N states of each channel.
"""

import torch
from torch import Tensor


def selective_scan(
    x: Tensor,
    step: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``h_t = exp(step_t rates) h_{t-1} + step_t write_t x_t``, ``y_t = sum_n read_t h_t``; see
    ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    full = (*x.shape[:2], rates.shape[0], x.shape[2])
    inputs, steps, rates = x.to(dtype), step.to(dtype).expand(x.shape), rates.to(dtype)
    write, read = write.to(dtype).expand(full), read.to(dtype).expand(full)
    h = inputs.new_zeros(full[0], *full[2:]) if state is None else state.to(dtype)  # [B, N, E]
    outputs = []
    for x_t, step_t, write_t, read_t in zip(
        *(tensor.unbind(1) for tensor in (inputs, steps, write, read)), strict=True
    ):
        decay = torch.exp(step_t[:, None] * rates)
        h = decay * h + write_t * (step_t * x_t)[:, None]
        outputs.append((read_t * h).sum(dim=1))
    return torch.stack(outputs, dim=1).to(x.dtype), h
