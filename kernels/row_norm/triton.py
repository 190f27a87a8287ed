"""Row normalisation in Triton, forward and backward, for a GPU or Triton's interpreter.

One set of kernels is RMS and layer normalisation, each with or without a residual. What an
argument leaves out is left out when the kernel is compiled.

Shapes: R rows, D width, P programs; any number of axes before D.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.row_norm.triton_backward import (
    differentiate_long_rows,
    differentiate_rows,
    sum_long_rows,
)
from nas.kernels.row_norm.triton_forward import normalise_long_rows, normalise_rows
from nas.kernels.runtime.rows import as_rows, cut, programs_of


class _RowNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        eps: float,
        centred: bool,
    ) -> tuple[Tensor, Tensor | None]:
        y, total, means, scales = _forward(x, residual, weight, bias, eps, centred)
        ctx.save_for_backward(x if total is None else total, weight, means, scales)
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.x_dtype = x.dtype
        ctx.set_materialize_grads(False)
        return y, total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dtotal: Tensor | None) -> tuple[Tensor | None, ...]:
        h, weight, means, scales = ctx.saved_tensors
        # None stands for zeros: nothing that counts follows from that result.
        dy = h.new_zeros(h.shape, dtype=ctx.x_dtype) if dy is None else dy
        dx, dresidual, dweight, dbias = _backward(
            h, weight, means, scales, dy, dtotal, ctx.x_dtype, ctx.bias_dtype
        )
        return dx, dresidual if ctx.needs_input_grad[1] else None, dweight, dbias, None, None


def _forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor | None, eps: float,
    centred: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:  # fmt: skip
    """y, the sum with the residual, and the mean and 1 / deviation of each row."""
    flat = as_rows(x)
    added = None if residual is None else as_rows(residual)
    rows, width = flat.shape
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    total = None if residual is None else torch.empty_like(y, dtype=residual.dtype)
    wide = torch.promote_types(x.dtype if total is None else _of_both(x, total), torch.float32)
    scales = x.new_empty(rows, dtype=wide)
    means = torch.empty_like(scales) if centred else None
    sizes = (rows, width, flat.stride(0), 0 if added is None else added.stride(0), eps, centred)
    tensors = (flat, added, weight.contiguous(), _contiguous(bias), y, total, means, scales)
    tiles = cut(width)
    if rows and tiles.whole:
        normalise_rows[(triton.cdiv(rows, tiles.rows),)](
            *tensors, *sizes, tile_rows=tiles.rows, block=tiles.block, num_warps=tiles.warps
        )
    elif rows:
        normalise_long_rows[(rows,)](*tensors, *sizes, block=tiles.block, num_warps=tiles.warps)
    return y, total, means, scales


def _backward(
    h: Tensor, weight: Tensor, means: Tensor | None, scales: Tensor, dy: Tensor,
    dtotal: Tensor | None, x_dtype: torch.dtype, bias_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Gradients of x, the residual (there being one or not), the weight and the bias."""
    flat, grad = as_rows(h), as_rows(dy)
    more = None if dtotal is None else as_rows(dtotal)
    rows, width = flat.shape
    tiles = cut(width)
    programs = max(1, programs_of(triton.cdiv(rows, tiles.rows)))
    dx = torch.empty_like(h, dtype=x_dtype, memory_format=torch.contiguous_format)
    # Where both have one type they have one gradient. Without a residual h is x, so they do.
    dresidual = None if h.dtype == x_dtype else torch.empty_like(dx, dtype=h.dtype)
    dweight = scales.new_empty(programs, width)  # [P, D]
    dbias = None if bias_dtype is None else torch.empty_like(dweight)
    strides = flat.stride(0), grad.stride(0)
    more_stride = 0 if more is None else more.stride(0)
    tensors = (flat, weight.contiguous(), means, scales, grad, more, dx, dresidual)
    centred = means is not None
    if tiles.whole:
        differentiate_rows[(programs,)](
            *tensors, dweight, dbias, rows, width, *strides, more_stride, centred,
            tile_rows=tiles.rows, block=tiles.block, num_warps=tiles.warps,
        )  # fmt: skip
    else:
        if rows:
            differentiate_long_rows[(rows,)](
                *tensors, width, *strides, more_stride, centred,
                block=tiles.block, num_warps=tiles.warps,
            )  # fmt: skip
        sum_long_rows[(programs, triton.cdiv(width, 1024))](
            flat, means, scales, grad, dweight, dbias, rows, width, *strides, centred, block=1024
        )
    bias_sums = None if dbias is None else dbias.sum(dim=0).to(bias_dtype)
    same = dx if dresidual is None else dresidual
    return dx, same, dweight.sum(dim=0).to(weight.dtype), bias_sums


def _of_both(x: Tensor, residual: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, residual.dtype)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def row_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, *, centred: bool
) -> Tensor:
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` over the last axis; without `centred`
    the mean is taken to be 0."""
    y: Tensor = _RowNorm.apply(x, None, weight, bias, eps, centred)[0]  # type: ignore[no-untyped-call]
    return y


def add_row_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None, eps: float, *, centred: bool
) -> tuple[Tensor, Tensor]:
    """The norm of ``x + residual``, in x's dtype, and the sum itself, in the residual's."""
    y, total = _RowNorm.apply(x, residual, weight, bias, eps, centred)  # type: ignore[no-untyped-call]
    return y, total
