"""Gated activations as Triton kernels, forward and backward, for a GPU or Triton's interpreter.

The activation is not stored: backward computes it again from the gate.

Shapes: R rows, D width; any number of axes before D.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas.kernels.gated_activation.names import ActivationName
from nas.kernels.runtime.rows import as_rows

_TILE = 1024
"""Values in the tile of a program: for each of 128 threads 16 bytes of bfloat16."""


@triton.jit  # type: ignore[untyped-decorator]
def _value_and_slope(x, activation: tl.constexpr):  # type: ignore[no-untyped-def]
    """The activation and its derivative; what is not used is not computed."""
    if activation == "silu":
        open_part = tl.sigmoid(x)
        value = x * open_part
        slope = open_part * (1.0 + x * (1.0 - open_part))
    elif activation == "sigmoid":
        value = tl.sigmoid(x)
        slope = value * (1.0 - value)
    elif activation == "relu":
        value = tl.where(x < 0.0, 0.0, x)  # as it stands, NaN stays
        slope = tl.where(x > 0.0, 1.0, 0.0)
    elif activation == "gelu":
        below = 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
        value = x * below
        slope = below + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    else:  # gelu_tanh, with (1 + tanh(z)) / 2 = sigmoid(2 z)
        # Beyond 30 the sigmoid is 0 or 1 in any type; cut off there, the cube cannot overflow.
        near = tl.minimum(tl.maximum(x, -30.0), 30.0)
        square = near * near
        below = tl.sigmoid(1.5957691216057308 * near * (1.0 + 0.044715 * square))
        value = x * below
        steep = 1.5957691216057308 * (1.0 + 3.0 * 0.044715 * square)
        slope = below + near * below * (1.0 - below) * steep
    return value, slope


@triton.jit  # type: ignore[untyped-decorator]
def _gate_forward(  # type: ignore[no-untyped-def]
    gate, up, y, rows, width, gate_stride, up_stride, activation: tl.constexpr,
    wide: tl.constexpr, tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program computes one tile of y."""
    row = tl.program_id(0).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)[:, None]
    column = tl.program_id(1) * block + tl.arange(0, block)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(gate + row * gate_stride + column, mask=inside, other=0.0).to(wide)
    factor = tl.load(up + row * up_stride + column, mask=inside, other=0.0).to(wide)
    value, _ = _value_and_slope(x, activation)
    tl.store(y + row * width + column, value * factor, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _gate_backward(  # type: ignore[no-untyped-def]
    gate, up, dy, dgate, dup, rows, width, gate_stride, up_stride, dy_stride,
    activation: tl.constexpr, wide: tl.constexpr, tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program computes one tile of both gradients."""
    row = tl.program_id(0).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)[:, None]
    column = tl.program_id(1) * block + tl.arange(0, block)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(gate + row * gate_stride + column, mask=inside, other=0.0).to(wide)
    factor = tl.load(up + row * up_stride + column, mask=inside, other=0.0).to(wide)
    grad = tl.load(dy + row * dy_stride + column, mask=inside, other=0.0).to(wide)
    value, slope = _value_and_slope(x, activation)
    tl.store(dgate + row * width + column, grad * factor * slope, mask=inside)
    tl.store(dup + row * width + column, grad * value, mask=inside)


class _GatedActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: ActivationName) -> Tensor:
        narrow = torch.promote_types(gate.dtype, up.dtype)
        y = torch.empty_like(gate, dtype=narrow, memory_format=torch.contiguous_format)
        x, factor = as_rows(gate), as_rows(up)
        sizes = (*x.shape, x.stride(0), factor.stride(0))
        if y.numel():
            grid, constants = _gate_launch(x.shape, activation, narrow)
            _gate_forward[grid](x, factor, y, *sizes, **constants)
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        dgate, dup = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (gate, up)
        )
        x, factor, grad = as_rows(gate), as_rows(up), as_rows(dy)
        sizes = (*x.shape, x.stride(0), factor.stride(0), grad.stride(0))
        if dy.numel():
            grid, constants = _gate_launch(x.shape, ctx.activation, dy.dtype)
            _gate_backward[grid](x, factor, grad, dgate, dup, *sizes, **constants)
        return dgate, dup, None


def _gate_launch(
    shape: torch.Size, activation: ActivationName, dtype: torch.dtype
) -> tuple[tuple[int, int], dict[str, Any]]:
    """The grid, and what the kernel is compiled for."""
    block = _gate_block(shape[1])
    tile_rows = max(1, _TILE // block)
    grid = (triton.cdiv(shape[0], tile_rows), triton.cdiv(shape[1], block))
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    return grid, {
        "activation": activation, "wide": wide, "tile_rows": tile_rows, "block": block,
    }  # fmt: skip


def _gate_block(width: int) -> int:
    """The longest block of columns that leaves little of the last one empty."""
    for block in (1024, 512, 256, 128):
        if triton.cdiv(width, block) * block <= width * 9 / 8:
            return block
    return int(min(128, triton.next_power_of_2(width)))


def gated_activation(gate: Tensor, up: Tensor, activation: ActivationName) -> Tensor:
    """``activation(gate) * up``."""
    y: Tensor = _GatedActivation.apply(gate, up, activation)  # type: ignore[no-untyped-call]
    return y
