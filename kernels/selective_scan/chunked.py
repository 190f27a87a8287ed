"""The selective scan of Mamba, a block of time after another.

Shapes: B batch, T time, E channels, N states of each channel.
"""

from typing import Any

import torch
from torch import Tensor

from nas.kernels.diagonal_scan.chunked import diagonal_scan

SELECTIVE_BLOCK = 128  # time steps whose states, N times as large as x, exist at once


def selective_scan(
    x: Tensor,
    step: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``h_t = exp(step_t rates) h_{t-1} + step_t write_t x_t`` and ``y_t = sum_n read_t h_t``.

    x [B, T, E]; step, at least 0, broadcastable to it; rates [N, E], at most 0; write and read
    broadcastable to [B, T, N, E]; state [B, N, E] or None for zeros. Returns y [B, T, E] in x's
    dtype and the last h.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    batch, time, channels = x.shape
    if state is None:
        state = x.new_zeros(batch, rates.shape[0], channels)
    state, rates, step = state.to(dtype), rates.to(dtype), step.to(dtype)
    timed = (
        step * x.to(dtype),
        step.expand(-1, time, -1),
        write.to(dtype).expand(-1, time, rates.shape[0], -1),
        read.to(dtype).expand(-1, time, rates.shape[0], -1),
    )
    if time <= SELECTIVE_BLOCK:
        y, state = _selective_block(*timed, rates, state)
        return y.to(x.dtype), state
    run: Any = _ForgetfulBlock.apply
    outputs = []
    for block in zip(*(tensor.split(SELECTIVE_BLOCK, dim=1) for tensor in timed), strict=True):
        y, state = run(*block, rates, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1).to(x.dtype), state


def _selective_block(
    pushed: Tensor, step: Tensor, write: Tensor, read: Tensor, rates: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """pushed is step x [B, T, E]; returns y [B, T, E] and the last state [B, N, E]."""
    decay = (step.unsqueeze(2) * rates).exp()  # [B, T, N, E]
    written = write * pushed.unsqueeze(2)
    h, last = diagonal_scan(written.flatten(2), decay.flatten(2), state.flatten(1))
    h, last = h.unflatten(2, rates.shape), last.unflatten(1, rates.shape)
    y = (read.mT @ h).squeeze(2) if read.shape[-1] == 1 else (read * h).sum(dim=2)
    return y.to(pushed.dtype), last


class _ForgetfulBlock(torch.autograd.Function):
    """`_selective_block`, whose states are computed a second time for the gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        return _selective_block(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad
        with torch.enable_grad():
            inputs = [
                tensor.detach().requires_grad_(want)
                for tensor, want in zip(ctx.saved_tensors, wanted, strict=True)
            ]
            results = _selective_block(*inputs)
        leaves = [tensor for tensor in inputs if tensor.requires_grad]
        gradients = iter(torch.autograd.grad(results, leaves, cotangents))
        return tuple(next(gradients) if want else None for want in wanted)
