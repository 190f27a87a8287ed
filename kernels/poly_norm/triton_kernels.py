"""The kernels of PolyNorm.

With s_i = 1 / sqrt(mean(x^2i) + eps), u_i = s_i x^i and means over the row,

    y    = sum_i a_i u_i + b
    dx   = sum_i a_i s_i i x^(i-1) (dy - u_i mean(dy u_i))
    da_i = sum over all of dy u_i,   db = sum over all of dy

A program that takes several rows in turn leaves its share of da and db for torch to add up.

Shapes: R rows, D width, P programs.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _factors(weight, wide: tl.constexpr):  # type: ignore[no-untyped-def]
    """a_1, a_2 and a_3."""
    first = tl.load(weight).to(wide)
    second = tl.load(weight + 1).to(wide)
    third = tl.load(weight + 2).to(wide)
    return first, second, third


@triton.jit  # type: ignore[untyped-decorator]
def poly_rows(  # type: ignore[no-untyped-def]
    x, weight, bias, y, scales, rows, width, x_stride, eps,
    tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program computes `tile_rows` whole rows, each read once."""
    wide: tl.constexpr = scales.dtype.element_ty
    row = tl.program_id(0).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)
    column = tl.arange(0, block)
    inside = (row < rows)[:, None] & (column < width)[None, :]
    at_x = row[:, None] * x_stride + column[None, :]
    values = tl.load(x + at_x, mask=inside, other=0.0).to(wide)
    square = values * values
    cube = square * values
    scale_1 = 1.0 / tl.sqrt(tl.sum(square, axis=1) / width + eps)
    scale_2 = 1.0 / tl.sqrt(tl.sum(square * square, axis=1) / width + eps)
    scale_3 = 1.0 / tl.sqrt(tl.sum(cube * cube, axis=1) / width + eps)
    tl.store(scales + 3 * row, scale_1, mask=row < rows)
    tl.store(scales + 3 * row + 1, scale_2, mask=row < rows)
    tl.store(scales + 3 * row + 2, scale_3, mask=row < rows)
    first, second, third = _factors(weight, wide)
    result = values * (first * scale_1)[:, None] + square * (second * scale_2)[:, None]
    result += cube * (third * scale_3)[:, None] + tl.load(bias).to(wide)
    tl.store(y + row[:, None] * width + column[None, :], result, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def poly_long_rows(  # type: ignore[no-untyped-def]
    x, weight, bias, y, scales, rows, width, x_stride, eps,
    tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program computes one row in blocks: once through for the means, and once more, by then
    from the cache, to write."""
    wide: tl.constexpr = scales.dtype.element_ty
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    sum_1 = tl.zeros([block], wide)
    sum_2 = tl.zeros([block], wide)
    sum_3 = tl.zeros([block], wide)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        values = tl.load(x + column, mask=column < width, other=0.0).to(wide)
        square = values * values
        cube = square * values
        sum_1 += square
        sum_2 += square * square
        sum_3 += cube * cube
    scale_1 = 1.0 / tl.sqrt(tl.sum(sum_1, axis=0) / width + eps)
    scale_2 = 1.0 / tl.sqrt(tl.sum(sum_2, axis=0) / width + eps)
    scale_3 = 1.0 / tl.sqrt(tl.sum(sum_3, axis=0) / width + eps)
    tl.store(scales + 3 * row, scale_1)
    tl.store(scales + 3 * row + 1, scale_2)
    tl.store(scales + 3 * row + 2, scale_3)
    first, second, third = _factors(weight, wide)
    shift = tl.load(bias).to(wide)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        values = tl.load(x + column, mask=column < width, other=0.0).to(wide)
        square = values * values
        result = values * (first * scale_1) + square * (second * scale_2)
        result += square * values * (third * scale_3) + shift
        tl.store(y + row * width + column, result, mask=column < width)


@triton.jit  # type: ignore[untyped-decorator]
def differentiate_poly_rows(  # type: ignore[no-untyped-def]
    x, weight, scales, dy, dx, sums, rows, width, x_stride, dy_stride,
    tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program takes every P-th tile of rows, each read once."""
    wide: tl.constexpr = scales.dtype.element_ty
    column = tl.arange(0, block)
    first, second, third = _factors(weight, wide)
    all_1 = tl.zeros([tile_rows], wide)
    all_2 = tl.zeros([tile_rows], wide)
    all_3 = tl.zeros([tile_rows], wide)
    all_dy = tl.zeros([tile_rows], wide)
    start = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for tile in range(start, tl.cdiv(rows, tile_rows), tl.num_programs(0)):
        row = tile * tile_rows + tl.arange(0, tile_rows)
        real = row < rows
        inside = real[:, None] & (column < width)[None, :]
        at_x = row[:, None] * x_stride + column[None, :]
        at_dy = row[:, None] * dy_stride + column[None, :]
        values = tl.load(x + at_x, mask=inside, other=0.0).to(wide)
        grad = tl.load(dy + at_dy, mask=inside, other=0.0).to(wide)
        scale_1 = tl.load(scales + 3 * row, mask=real, other=0.0)
        scale_2 = tl.load(scales + 3 * row + 1, mask=real, other=0.0)
        scale_3 = tl.load(scales + 3 * row + 2, mask=real, other=0.0)
        square = values * values
        cube = square * values
        along_1 = tl.sum(grad * values, axis=1) * scale_1
        along_2 = tl.sum(grad * square, axis=1) * scale_2
        along_3 = tl.sum(grad * cube, axis=1) * scale_3
        all_1 += along_1
        all_2 += along_2
        all_3 += along_3
        all_dy += tl.sum(grad, axis=1)
        slope_1 = grad - values * (scale_1 * along_1 / width)[:, None]
        slope_2 = grad - square * (scale_2 * along_2 / width)[:, None]
        slope_3 = grad - cube * (scale_3 * along_3 / width)[:, None]
        result = slope_1 * (first * scale_1)[:, None]
        result += slope_2 * values * (2.0 * second * scale_2)[:, None]
        result += slope_3 * square * (3.0 * third * scale_3)[:, None]
        tl.store(dx + row[:, None] * width + column[None, :], result, mask=inside)
    at_sums = sums + tl.program_id(0) * 4
    tl.store(at_sums, tl.sum(all_1, axis=0))
    tl.store(at_sums + 1, tl.sum(all_2, axis=0))
    tl.store(at_sums + 2, tl.sum(all_3, axis=0))
    tl.store(at_sums + 3, tl.sum(all_dy, axis=0))


@triton.jit  # type: ignore[untyped-decorator]
def differentiate_long_poly_rows(  # type: ignore[no-untyped-def]
    x, weight, scales, dy, dx, sums, rows, width, x_stride, dy_stride,
    tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program takes every P-th row, in blocks: once through for the means, and once more, by
    then from the cache, to write."""
    wide: tl.constexpr = scales.dtype.element_ty
    first, second, third = _factors(weight, wide)
    all_1 = tl.zeros([1], wide)
    all_2 = tl.zeros([1], wide)
    all_3 = tl.zeros([1], wide)
    all_dy = tl.zeros([1], wide)
    begin = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for row in range(begin, rows, tl.num_programs(0)):
        scale_1 = tl.load(scales + 3 * row)
        scale_2 = tl.load(scales + 3 * row + 1)
        scale_3 = tl.load(scales + 3 * row + 2)
        sum_1 = tl.zeros([block], wide)
        sum_2 = tl.zeros([block], wide)
        sum_3 = tl.zeros([block], wide)
        sum_dy = tl.zeros([block], wide)
        for start in range(0, width, block):
            column = start + tl.arange(0, block)
            inside = column < width
            values = tl.load(x + row * x_stride + column, mask=inside, other=0.0).to(wide)
            grad = tl.load(dy + row * dy_stride + column, mask=inside, other=0.0).to(wide)
            sum_1 += grad * values
            sum_2 += grad * values * values
            sum_3 += grad * values * values * values
            sum_dy += grad
        along_1 = tl.sum(sum_1, axis=0) * scale_1
        along_2 = tl.sum(sum_2, axis=0) * scale_2
        along_3 = tl.sum(sum_3, axis=0) * scale_3
        all_1 += along_1
        all_2 += along_2
        all_3 += along_3
        all_dy += tl.sum(sum_dy, axis=0)
        for start in range(0, width, block):
            column = start + tl.arange(0, block)
            inside = column < width
            values = tl.load(x + row * x_stride + column, mask=inside, other=0.0).to(wide)
            grad = tl.load(dy + row * dy_stride + column, mask=inside, other=0.0).to(wide)
            square = values * values
            slope_1 = grad - values * (scale_1 * along_1 / width)
            slope_2 = grad - square * (scale_2 * along_2 / width)
            slope_3 = grad - square * values * (scale_3 * along_3 / width)
            result = slope_1 * (first * scale_1) + slope_2 * values * (2.0 * second * scale_2)
            result += slope_3 * square * (3.0 * third * scale_3)
            tl.store(dx + row * width + column, result, mask=inside)
    at_sums = sums + tl.program_id(0) * 4 + tl.arange(0, 1)
    tl.store(at_sums, all_1)
    tl.store(at_sums + 1, all_2)
    tl.store(at_sums + 2, all_3)
    tl.store(at_sums + 3, all_dy)
