"""PolyNorm in Triton, forward and backward, for a GPU or Triton's interpreter.

Shapes: R rows, D width, P programs; any number of axes before D.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.poly_norm.triton_kernels import (
    differentiate_long_poly_rows,
    differentiate_poly_rows,
    poly_long_rows,
    poly_rows,
)
from nas.kernels.runtime.rows import as_rows, cut, programs_of


class _PolyNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        flat, factors = as_rows(x), weight.contiguous()
        rows, width = flat.shape
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        scales = x.new_empty(rows, 3, dtype=torch.promote_types(x.dtype, torch.float32))
        tiles = cut(width)
        if rows:
            kernel = poly_rows if tiles.whole else poly_long_rows
            kernel[(triton.cdiv(rows, tiles.rows),)](
                flat, factors, bias, y, scales, rows, width, flat.stride(0), eps,
                tile_rows=tiles.rows, block=tiles.block, num_warps=tiles.warps,
            )  # fmt: skip
        ctx.save_for_backward(x, weight, scales)
        ctx.bias_dtype = bias.dtype
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, scales = ctx.saved_tensors
        flat, grad, factors = as_rows(x), as_rows(dy), weight.contiguous()
        rows, width = flat.shape
        dx = torch.empty_like(x, memory_format=torch.contiguous_format)
        tiles = cut(width)
        programs = programs_of(triton.cdiv(rows, tiles.rows))
        sums = scales.new_empty(programs, 4)  # [P, 4]: for a_1, a_2, a_3 and b
        if rows:
            kernel = differentiate_poly_rows if tiles.whole else differentiate_long_poly_rows
            kernel[(programs,)](
                flat, factors, scales, grad, dx, sums, rows, width, flat.stride(0),
                grad.stride(0), tile_rows=tiles.rows, block=tiles.block, num_warps=tiles.warps,
            )  # fmt: skip
        total = sums.sum(dim=0)
        return dx, total[:3].to(weight.dtype), total[3:].to(ctx.bias_dtype), None


def poly_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``y = a_1 norm(x) + a_2 norm(x^2) + a_3 norm(x^3) + b``."""
    y: Tensor = _PolyNorm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return y
