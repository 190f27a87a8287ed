"""The forward kernels of row normalisation.

Shapes: R rows, D width. Arguments that are None do not exist for the compiled kernel.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def load_sum(x, residual, at_x, at_residual, inside, wide: tl.constexpr):  # type: ignore[no-untyped-def]
    """x, or x + residual as rounded to the residual's type, which is how it will be stored."""
    values = tl.load(x + at_x, mask=inside, other=0.0).to(wide)
    if residual is not None:
        values += tl.load(residual + at_residual, mask=inside, other=0.0).to(wide)
        values = values.to(residual.dtype.element_ty).to(wide)
    return values


@triton.jit  # type: ignore[untyped-decorator]
def normalise_rows(  # type: ignore[no-untyped-def]
    x, residual, weight, bias, y, total, means, scales, rows, width, x_stride, residual_stride,
    eps, centred: tl.constexpr, tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program normalises `tile_rows` whole rows, each read once."""
    wide: tl.constexpr = scales.dtype.element_ty
    row = tl.program_id(0).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)
    column = tl.arange(0, block)
    inside = (row < rows)[:, None] & (column < width)[None, :]
    at_x = row[:, None] * x_stride + column[None, :]
    at_residual = row[:, None] * residual_stride + column[None, :]
    at_y = row[:, None] * width + column[None, :]
    values = load_sum(x, residual, at_x, at_residual, inside, wide)
    if total is not None:
        tl.store(total + at_y, values, mask=inside)
    if centred:
        mean = tl.sum(values, axis=1) / width
        values = tl.where(inside, values - mean[:, None], 0.0)
        tl.store(means + row, mean, mask=row < rows)
    scale = 1.0 / tl.sqrt(tl.sum(values * values, axis=1) / width + eps)
    tl.store(scales + row, scale, mask=row < rows)
    gain = tl.load(weight + column, mask=column < width, other=0.0).to(wide)
    values = values * scale[:, None] * gain[None, :]
    if bias is not None:
        values += tl.load(bias + column, mask=column < width, other=0.0).to(wide)[None, :]
    tl.store(y + at_y, values, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def normalise_long_rows(  # type: ignore[no-untyped-def]
    x, residual, weight, bias, y, total, means, scales, rows, width, x_stride, residual_stride,
    eps, centred: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program normalises one row in blocks: once through for the mean and the variance, and once
    more, by then from the cache, to write."""
    wide: tl.constexpr = scales.dtype.element_ty
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    if residual is not None:
        residual += row * residual_stride
    # Each column of the block keeps its own mean and sum of squared distances from it (Welford),
    # since a sum of squares less the square of the sum would cancel.
    mean = tl.zeros([block], wide)
    square = tl.zeros([block], wide)
    count = tl.zeros([block], wide)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        inside = column < width
        values = load_sum(x, residual, column, column, inside, wide)
        if centred:
            count += inside.to(wide)
            off = tl.where(inside, values - mean, 0.0)
            mean += off / tl.maximum(count, 1.0)
            square += off * (values - mean)
        else:
            square += values * values
    middle = tl.sum(mean * count, axis=0) / width  # 0 where not centred
    if centred:
        square += count * (mean - middle) * (mean - middle)
        tl.store(means + row, middle)
    scale = 1.0 / tl.sqrt(tl.sum(square, axis=0) / width + eps)
    tl.store(scales + row, scale)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        inside = column < width
        values = load_sum(x, residual, column, column, inside, wide)
        if total is not None:
            tl.store(total + row * width + column, values, mask=inside)
        gain = tl.load(weight + column, mask=inside, other=0.0).to(wide)
        values = (values - middle) * scale * gain
        if bias is not None:
            values += tl.load(bias + column, mask=inside, other=0.0).to(wide)
        tl.store(y + row * width + column, values, mask=inside)
