"""The kernels of a grouped matrix product.

Shapes: N rows, E groups; a product is x [N, inner] by weight [E, inner, outer].
"""

import triton
import triton.language as tl

_TILES_ABREAST = tl.constexpr(8)
"""Row tiles that run side by side through all columns, so that they find the weights and each
other's rows in the second-level cache."""


@triton.jit  # type: ignore[untyped-decorator]
def _map_tiles(  # type: ignore[no-untyped-def]
    sizes, tile_groups, tile_rows, ends, rows, groups, tiles,
    height: tl.constexpr, group_block: tl.constexpr,
):  # fmt: skip
    """A program lists the tiles of one group: its number and the first row of each.

    No tile has rows of two groups. The program after those of the groups lists the rows that
    belong to none, and marks the rest of the table as empty.
    """
    slot_block: tl.constexpr = 128
    group = tl.program_id(0)
    other = tl.arange(0, group_block)
    size = tl.load(sizes + other, mask=other < groups, other=0).to(tl.int32)
    start = tl.sum(tl.where(other < group, size, 0), axis=0)
    first = tl.sum(tl.where(other < group, (size + height - 1) // height, 0), axis=0)
    own = tl.sum(tl.where(other == group, size, 0), axis=0)
    own = tl.where(group == groups, rows - start, own)
    tl.store(ends + group, tl.minimum(start + own, rows))
    filled = (own + height - 1) // height
    count = tl.where(group == groups, tiles - first, filled)
    for begin in range(0, count, slot_block):
        slot = begin + tl.arange(0, slot_block)
        inside = (slot < count) & (first + slot < tiles)
        tl.store(tile_groups + first + slot, tl.where(slot < filled, group, -1), mask=inside)
        tl.store(tile_rows + first + slot, start + slot * height, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]
    x, weight, y, tile_groups, tile_rows, ends, groups, inner, outer, row_tiles,
    transposed: tl.constexpr,
    row_block: tl.constexpr, inner_block: tl.constexpr, outer_block: tl.constexpr,
):  # fmt: skip
    """A program computes one tile of y from the rows of one group and that group's matrix; rows
    of no group become 0. A transposed weight is stored as [E, outer, inner]."""
    wide: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    outer_tiles = tl.cdiv(outer, outer_block)
    abreast = _TILES_ABREAST * outer_tiles
    band = tl.program_id(0) // abreast
    band_tiles = tl.minimum(row_tiles - band * _TILES_ABREAST, _TILES_ABREAST)
    inside_band = tl.program_id(0) % abreast
    tile = band * _TILES_ABREAST + inside_band % band_tiles
    column = (inside_band // band_tiles) * outer_block + tl.arange(0, outer_block)
    group = tl.load(tile_groups + tile)
    if group >= 0:
        row = tl.load(tile_rows + tile) + tl.arange(0, row_block)
        row_inside = row < tl.load(ends + group)
        column_inside = column < outer
        x_row = x + row.to(tl.int64)[:, None] * inner
        matrix = weight + group.to(tl.int64) * inner * outer
        result = tl.zeros([row_block, outer_block], wide)
        depth = tl.where(group < groups, inner, 0)
        for begin in range(0, depth, inner_block):
            index = begin + tl.arange(0, inner_block)
            index_inside = index < inner
            left = tl.load(
                x_row + index[None, :], mask=row_inside[:, None] & index_inside[None, :], other=0.0
            )
            if transposed:
                place = matrix + column[None, :].to(tl.int64) * inner + index[:, None]
            else:
                place = matrix + index[:, None].to(tl.int64) * outer + column[None, :]
            right = tl.load(place, mask=index_inside[:, None] & column_inside[None, :], other=0.0)
            result = tl.dot(left, right, result, input_precision="tf32x3", out_dtype=wide)
        place = y + row.to(tl.int64)[:, None] * outer + column[None, :]
        tl.store(place, result, mask=row_inside[:, None] & column_inside[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _sum_outer_products(  # type: ignore[no-untyped-def]
    x, dy, partial, ends, groups, inputs, outputs, parts,
    row_block: tl.constexpr, input_block: tl.constexpr, output_block: tl.constexpr,
):  # fmt: skip
    """A program sums x_n dy_n^T over one part of the rows of one group, for one tile of its
    matrix: every `parts`-th block of rows, in order. An empty group gives 0.

    partial is [parts, E, inputs, outputs].
    """
    wide: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    input_tiles, output_tiles = tl.cdiv(inputs, input_block), tl.cdiv(outputs, output_block)
    tile, part = tl.program_id(0), tl.program_id(1)
    group = tile // (input_tiles * output_tiles)
    entry = (tile // output_tiles) % input_tiles * input_block + tl.arange(0, input_block)
    output = tile % output_tiles * output_block + tl.arange(0, output_block)
    start = tl.load(ends + group - 1, mask=group > 0, other=0)
    end = tl.load(ends + group)
    result = tl.zeros([input_block, output_block], wide)
    for begin in range(start + part * row_block, end, parts * row_block):
        row = begin + tl.arange(0, row_block)
        row_inside = row < end
        offset = row.to(tl.int64)
        left = tl.load(
            x + offset[None, :] * inputs + entry[:, None],
            mask=row_inside[None, :] & (entry < inputs)[:, None],
            other=0.0,
        )
        right = tl.load(
            dy + offset[:, None] * outputs + output[None, :],
            mask=row_inside[:, None] & (output < outputs)[None, :],
            other=0.0,
        )
        result = tl.dot(left, right, result, input_precision="tf32x3", out_dtype=wide)
    matrix = partial + (part * groups + group).to(tl.int64) * inputs * outputs
    place = matrix + entry[:, None].to(tl.int64) * outputs + output[None, :]
    tl.store(place, result, mask=(entry < inputs)[:, None] & (output < outputs)[None, :])
