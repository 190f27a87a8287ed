"""A matrix product for each group of rows as Triton kernels: the gradients and the launches.

Shapes: N rows, E groups, D inputs, F outputs, P partial sums.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.grouped_matmul.triton_kernels import _map_tiles, _multiply, _sum_outer_products

_MANY_ROWS = 256
"""Rows of a group, on average, from which tiles are 128 rows high instead of 64."""
_GROUPED_PROGRAMS = 256
"""Programs that the gradient of the weights should have, about two for each multiprocessor of a
large GPU; a number of the device would make sums depend on it."""
_STRETCH = 512
"""A partial sum is over at least as many rows on average: each has to be written and read."""


@dataclass(frozen=True)
class _Tiles:
    """Which rows belong together, on the device; see ``_map_tiles``."""

    groups: Tensor
    """Of each tile; E for rows of no group, -1 for no tile."""
    rows: Tensor
    """First row of each tile."""
    ends: Tensor
    """Of each group, [E + 1]: the row after its last one."""
    height: int


def _height(rows: int, groups: int) -> int:
    """Rows of a tile. Both heights fill the matrix unit alike and add up a row's products in the
    same order, so that a row's result does not depend on how many others there are."""
    return 128 if rows >= _MANY_ROWS * groups else 64


def _side(width: int, most: int) -> int:
    return max(16, min(most, triton.next_power_of_2(width)))


def _limits(dtype: torch.dtype, *widths: int) -> tuple[int, int, int]:
    """Width and depth of a tile at most, and stages in flight.

    Two-byte values keep three stages of 128 + 128 by 64 in flight, 96 KB. Float32 is multiplied in
    three passes of tf32 whose parts all stand in registers, hence half as wide and deep; so do
    two-byte values that cannot be copied 16 bytes at a time, as a width is no multiple of 16.
    """
    if dtype.itemsize > 4:
        return 32, 16, 1
    if dtype.itemsize == 4 or any(width % 16 for width in widths):
        return 64, 32, 2
    return 128, 64, 3


def _product_blocks(dtype: torch.dtype, height: int, inner: int, outer: int) -> dict[str, int]:
    """Tiles of a product: `inner` is summed over, `outer` is the width of the result."""
    most, deep, stages = _limits(dtype, inner, outer)
    return {
        "row_block": height,
        "inner_block": _side(inner, deep),
        "outer_block": _side(outer, most),
        "num_warps": 8 if height == 128 else 4,
        "num_stages": stages,
    }


def _gradient_blocks(dtype: torch.dtype, inputs: int, outputs: int) -> dict[str, int]:
    """Tiles of the gradient of the weights, which sums over rows."""
    most, deep, stages = _limits(dtype, inputs, outputs)
    blocks = {"input_block": _side(inputs, most), "output_block": _side(outputs, most)}
    large = blocks["input_block"] * blocks["output_block"] > 64 * 64
    return {**blocks, "row_block": deep, "num_warps": 8 if large else 4, "num_stages": stages}


def _tiles(sizes: Tensor, rows: int) -> _Tiles:
    groups = sizes.shape[0]
    height = _height(rows, groups)
    count = rows // height + groups + 1  # each group may have one tile that is not full
    tile_groups, tile_rows = (sizes.new_empty(count, dtype=torch.int32) for _ in range(2))
    ends = sizes.new_empty(groups + 1, dtype=torch.int32)
    _map_tiles[(groups + 1,)](
        sizes.contiguous(), tile_groups, tile_rows, ends, rows, groups, count,
        height=height, group_block=triton.next_power_of_2(groups), num_warps=4,
    )  # fmt: skip
    return _Tiles(tile_groups, tile_rows, ends, height)


def _product(x: Tensor, weight: Tensor, tiles: _Tiles, *, transposed: bool) -> Tensor:
    """x [N, I] by weight [E, I, O], or [E, O, I] where it is transposed."""
    groups, inner, outer = weight.shape
    if transposed:
        inner, outer = outer, inner
    y = x.new_empty(x.shape[0], outer)
    blocks = _product_blocks(x.dtype, tiles.height, inner, outer)
    row_tiles, outer_tiles = len(tiles.groups), triton.cdiv(outer, blocks["outer_block"])
    _multiply[(row_tiles * outer_tiles,)](
        x, weight, y, tiles.groups, tiles.rows, tiles.ends,
        groups, inner, outer, row_tiles, transposed=transposed, **blocks,
    )  # fmt: skip
    return y


def _grouped_weight_gradient(x: Tensor, dy: Tensor, groups: int, tiles: _Tiles) -> Tensor:
    (rows, inputs), outputs = x.shape, dy.shape[1]
    blocks = _gradient_blocks(x.dtype, inputs, outputs)
    sides = triton.cdiv(inputs, blocks["input_block"]), triton.cdiv(outputs, blocks["output_block"])
    programs = groups * sides[0] * sides[1]
    parts = max(1, min(_GROUPED_PROGRAMS // programs, rows // (_STRETCH * groups)))
    dtype = x.dtype if parts == 1 else torch.promote_types(x.dtype, torch.float32)
    partial = torch.empty(parts, groups, inputs, outputs, dtype=dtype, device=x.device)
    _sum_outer_products[(programs, parts)](
        x, dy, partial, tiles.ends, groups, inputs, outputs, parts, **blocks
    )
    return partial[0] if parts == 1 else partial.sum(dim=0).to(x.dtype)


class _GroupedMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: Tensor, transposed: bool) -> Tensor:
        """weight is [E, F, D] where it is transposed."""
        tiles = _tiles(sizes, x.shape[0])
        ctx.save_for_backward(x, weight, tiles.groups, tiles.rows, tiles.ends)
        ctx.height, ctx.transposed = tiles.height, transposed
        return _product(x, weight, tiles, transposed=transposed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight, groups, rows, ends = ctx.saved_tensors
        tiles = _Tiles(groups, rows, ends, ctx.height)
        dy = dy.contiguous()
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx = _product(dy, weight, tiles, transposed=not ctx.transposed)
        if ctx.needs_input_grad[1]:
            left, right = (dy, x) if ctx.transposed else (x, dy)
            dweight = _grouped_weight_gradient(left, right, weight.shape[0], tiles)
        return dx, dweight, None, None


def grouped_matmul(x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    """``y_n = x_n W_e`` for each row n of group e."""
    transposed = weight.mT.is_contiguous() and not weight.is_contiguous()
    stored = weight.mT if transposed else weight.contiguous()
    y: Tensor = _GroupedMatmul.apply(x.contiguous(), stored, sizes, transposed)  # type: ignore[no-untyped-call]
    return y
