"""The selective scan of Mamba as Triton kernels, for a GPU or Triton's interpreter.

Shapes: B batch, T time, E channels, N states of each channel.
"""

from typing import Any

import torch
from torch import Tensor

from nas.kernels.selective_scan.triton_backward import backward
from nas.kernels.selective_scan.triton_forward import forward


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        y, last, starts, fades = forward(*inputs)
        ctx.save_for_backward(*inputs[:5], starts, fades)
        return y, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        x, step, rates, write, read, starts, fades = ctx.saved_tensors
        *gradients, dstate = backward(x, step, rates, write, read, starts, fades, dy, dlast)
        return *gradients, dstate if ctx.needs_input_grad[5] else None


def selective_scan(
    x: Tensor,
    step: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``h_t = exp(step_t rates) h_{t-1} + step_t write_t x_t``, ``y_t = sum_n read_t h_t``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    rates = rates.to(dtype).contiguous()
    state = None if state is None else state.to(dtype).contiguous()
    y, last = _SelectiveScan.apply(x, step, rates, write, read, state)  # type: ignore[no-untyped-call]
    return y, last
