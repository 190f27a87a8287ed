"""The backward kernels of row normalisation.

With u = (h - mean) * scale the normalised row, g = weight * dy and means over the row,

    dh      = scale * (g - mean(g) - u * mean(g * u)) + dtotal
    dweight = sum over rows of dy * u
    dbias   = sum over rows of dy

where mean(g) drops out if nothing is centred, and dtotal if there is no residual.

Shapes: R rows, D width, P programs. Arguments that are None do not exist for the compiled kernel.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def differentiate_rows(  # type: ignore[no-untyped-def]
    h, weight, means, scales, dy, dtotal, dx, dresidual, dweight, dbias, rows, width, h_stride,
    dy_stride, dtotal_stride, centred: tl.constexpr, tile_rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program takes every P-th tile of rows, and leaves the sums over its rows for dweight and
    dbias."""
    wide: tl.constexpr = scales.dtype.element_ty
    column = tl.arange(0, block)
    gain = tl.load(weight + column, mask=column < width, other=0.0).to(wide)[None, :]
    weight_sums = tl.zeros([tile_rows, block], wide)
    bias_sums = tl.zeros([tile_rows, block], wide)
    first = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for tile in range(first, tl.cdiv(rows, tile_rows), tl.num_programs(0)):
        row = tile * tile_rows + tl.arange(0, tile_rows)
        inside = (row < rows)[:, None] & (column < width)[None, :]
        at_h = row[:, None] * h_stride + column[None, :]
        at_dy = row[:, None] * dy_stride + column[None, :]
        scale = tl.load(scales + row, mask=row < rows, other=0.0)[:, None]
        unit = tl.load(h + at_h, mask=inside, other=0.0).to(wide)
        if centred:
            unit -= tl.load(means + row, mask=row < rows, other=0.0)[:, None]
        unit = tl.where(inside, unit * scale, 0.0)
        grad = tl.load(dy + at_dy, mask=inside, other=0.0).to(wide)
        weight_sums += grad * unit
        if dbias is not None:
            bias_sums += grad
        grad *= gain
        # The scale depends on the row too: that takes out the part of the gradient along it.
        along = tl.sum(grad * unit, axis=1) / width
        slope = grad - unit * along[:, None]
        if centred:
            slope -= (tl.sum(grad, axis=1) / width)[:, None]
        slope *= scale
        if dtotal is not None:
            at_dtotal = row[:, None] * dtotal_stride + column[None, :]
            slope += tl.load(dtotal + at_dtotal, mask=inside, other=0.0).to(wide)
        at_dx = row[:, None] * width + column[None, :]
        tl.store(dx + at_dx, slope, mask=inside)
        if dresidual is not None:
            tl.store(dresidual + at_dx, slope, mask=inside)
    at_sums = tl.program_id(0) * width + column
    tl.store(dweight + at_sums, tl.sum(weight_sums, axis=0), mask=column < width)
    if dbias is not None:
        tl.store(dbias + at_sums, tl.sum(bias_sums, axis=0), mask=column < width)


@triton.jit  # type: ignore[untyped-decorator]
def differentiate_long_rows(  # type: ignore[no-untyped-def]
    h, weight, means, scales, dy, dtotal, dx, dresidual, width, h_stride, dy_stride,
    dtotal_stride, centred: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program takes one row in blocks: once through for the two means, and once more, by then
    from the cache, to write."""
    wide: tl.constexpr = scales.dtype.element_ty
    row = tl.program_id(0).to(tl.int64)
    h += row * h_stride
    dy += row * dy_stride
    scale = tl.load(scales + row)
    middle = tl.load(means + row) if centred else tl.zeros_like(scale)
    along = tl.zeros([block], wide)
    level = tl.zeros([block], wide)
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        inside = column < width
        unit = (tl.load(h + column, mask=inside, other=0.0).to(wide) - middle) * scale
        grad = tl.load(dy + column, mask=inside, other=0.0).to(wide)
        grad *= tl.load(weight + column, mask=inside, other=0.0).to(wide)
        along += grad * unit  # grad is 0 outside
        if centred:
            level += grad
    mean_along = tl.sum(along, axis=0) / width
    mean_level = tl.sum(level, axis=0) / width
    for start in range(0, width, block):
        column = start + tl.arange(0, block)
        inside = column < width
        unit = (tl.load(h + column, mask=inside, other=0.0).to(wide) - middle) * scale
        grad = tl.load(dy + column, mask=inside, other=0.0).to(wide)
        grad *= tl.load(weight + column, mask=inside, other=0.0).to(wide)
        slope = (grad - unit * mean_along - mean_level) * scale
        if dtotal is not None:
            at_dtotal = row * dtotal_stride + column
            slope += tl.load(dtotal + at_dtotal, mask=inside, other=0.0).to(wide)
        tl.store(dx + row * width + column, slope, mask=inside)
        if dresidual is not None:
            tl.store(dresidual + row * width + column, slope, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def sum_long_rows(  # type: ignore[no-untyped-def]
    h, means, scales, dy, dweight, dbias, rows, width, h_stride, dy_stride,
    centred: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """A program takes one block of columns of every P-th row, for dweight and dbias."""
    wide: tl.constexpr = scales.dtype.element_ty
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    weight_sums = tl.zeros([block], wide)
    bias_sums = tl.zeros([block], wide)
    first = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    for row in range(first, rows, tl.num_programs(0)):
        unit = tl.load(h + row * h_stride + column, mask=inside, other=0.0).to(wide)
        if centred:
            unit -= tl.load(means + row)
        grad = tl.load(dy + row * dy_stride + column, mask=inside, other=0.0).to(wide)
        weight_sums += grad * unit * tl.load(scales + row)
        if dbias is not None:
            bias_sums += grad
    at_sums = tl.program_id(0).to(tl.int64) * width + column
    tl.store(dweight + at_sums, weight_sums, mask=inside)
    if dbias is not None:
        tl.store(dbias + at_sums, bias_sums, mask=inside)
