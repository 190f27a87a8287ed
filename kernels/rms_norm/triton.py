"""RMS normalisation as Triton kernels, forward and backward, for a GPU or Triton's interpreter.

Shapes: R rows, D width, P programs.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_PROGRAMS = 256
"""At most this many programs share the rows; fixed, so that sums come out the same every time."""


@triton.jit  # type: ignore[untyped-decorator]
def _rms_forward(x, weight, y, scales, rows, width, eps, block: tl.constexpr):  # type: ignore[no-untyped-def]
    column = tl.arange(0, block)
    inside = column < width
    w = tl.load(weight + column, mask=inside, other=0.0)
    first = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for row in range(first, rows, tl.num_programs(0)):
        start = row * width
        wide = tl.load(x + start + column, mask=inside, other=0.0).to(w.dtype)
        scale = 1.0 / tl.sqrt(tl.sum(wide * wide, axis=0) / width + eps)
        tl.store(scales + row, scale)
        tl.store(y + start + column, wide * scale * w, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _rms_backward(x, weight, scales, dy, dx, dweight, rows, width, block: tl.constexpr):  # type: ignore[no-untyped-def]
    column = tl.arange(0, block)
    inside = column < width
    w = tl.load(weight + column, mask=inside, other=0.0)
    sums = tl.zeros_like(w)
    first = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for row in range(first, rows, tl.num_programs(0)):
        start = row * width
        scale = tl.load(scales + row)
        unit = tl.load(x + start + column, mask=inside, other=0.0).to(w.dtype) * scale
        grad = tl.load(dy + start + column, mask=inside, other=0.0).to(w.dtype)
        sums += grad * unit
        # The scale depends on x too: that takes out the part of the gradient along x.
        along = tl.sum(grad * w * unit, axis=0) / width
        tl.store(dx + start + column, (grad * w - unit * along) * scale, mask=inside)
    tl.store(dweight + tl.program_id(0) * width + column, sums, mask=inside)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        flat = x.reshape(-1, x.shape[-1]).contiguous()  # [R, D]
        wide = weight.to(dtype).contiguous()
        rows, width = flat.shape
        y, scales = torch.empty_like(flat), wide.new_empty(rows)
        grid, block = (min(rows, _PROGRAMS),), triton.next_power_of_2(width)
        if rows:
            _rms_forward[grid](flat, wide, y, scales, rows, width, eps, block=block)
        ctx.save_for_backward(flat, wide, scales)
        ctx.shape, ctx.weight_dtype = x.shape, weight.dtype
        return y.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        flat, wide, scales = ctx.saved_tensors
        rows, width = flat.shape
        dx, dy = torch.empty_like(flat), dy.reshape(rows, width).contiguous()
        grid, block = (min(rows, _PROGRAMS),), triton.next_power_of_2(width)
        dweight = wide.new_zeros(*grid, width)  # [P, D]
        if rows:
            _rms_backward[grid](flat, wide, scales, dy, dx, dweight, rows, width, block=block)
        return dx.view(ctx.shape), dweight.sum(dim=0).to(ctx.weight_dtype), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``y = weight * x / sqrt(mean(x^2) + eps)`` over the last axis; see ``api``."""
    y: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return y
