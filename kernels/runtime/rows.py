"""How Triton kernels that work row by row see a tensor, and how they cut it into tiles.

A program holds a tile of whole rows in registers. A row that is too long for that is read in
blocks, more than once.
"""

from dataclasses import dataclass

from torch import Tensor

PROGRAMS = 512
"""At most this many programs share the rows where gradients are summed over them. It is a fixed
number rather than one that follows the device, so that sums come out the same everywhere."""
TILE = 1024
"""Values in the tile of a program, unless one row has more; 8 for each of 128 threads."""
LONGEST = 4096
"""Longer rows than this are read in blocks of ``BLOCK``."""
BLOCK = 2048


@dataclass(frozen=True)
class Tiles:
    """How rows of one width are cut; depends on nothing but the width, so that the result for a
    row does not depend on how many others there are."""

    rows: int
    """Of one tile."""
    block: int
    """Columns of one tile, a power of 2."""
    whole: bool
    """Whether a tile holds whole rows."""
    warps: int


def as_rows(x: Tensor) -> Tensor:
    """[..., D] as [R, D] with neighbours in a row side by side in memory; rows may lie apart.

    A copy is made only where no view can be had.
    """
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def cut(width: int) -> Tiles:
    """The tiles for rows of ``width``."""
    padded = 1 << (width - 1).bit_length()
    if padded > LONGEST:
        return Tiles(rows=1, block=BLOCK, whole=False, warps=8)
    return Tiles(rows=max(1, TILE // padded), block=padded, whole=True, warps=max(4, padded // 256))


def programs_of(tiles: int) -> int:
    """How many programs share ``tiles`` tiles where gradients are summed over them."""
    return min(tiles, PROGRAMS)
