"""Sizes of blocks of the attention kernels. This file needs neither torch nor triton."""


def blocks(kernel: str, width: int, size: int, *, routed: bool) -> dict[str, int]:
    """Queries and keys that a program holds at a time, its warps, and the blocks that are loaded
    ahead; `width` of the wider of key and value, filled up, and `size` of a value in bytes.

    Chosen so that the kernels compiled for compute capability 8.0 and 9.0 do not spill at a width
    of 64 and fit shared memory at all; see the table in README.md. Where queries are `routed`, to
    gather them takes registers and lists are short, so there are half as many of them.
    """
    rows, columns, warps, stages = _BLOCKS[kernel].get((size, width), (16, 16, 4, 1))
    rows = max(16, rows // 2) if routed else rows
    return {"row_block": rows, "column_block": columns, "num_warps": warps, "num_stages": stages}


_BLOCKS = {
    "forward": {
        (2, 64): (128, 64, 8, 3),
        (2, 128): (128, 64, 8, 3),
        (2, 256): (64, 32, 8, 2),
        (4, 64): (64, 32, 8, 2),
        (4, 128): (64, 32, 8, 2),
    },
    "queries": {
        (2, 64): (128, 64, 8, 2),
        (2, 128): (64, 64, 8, 2),
        (2, 256): (32, 32, 8, 2),
        (4, 64): (32, 32, 4, 2),
        (4, 128): (32, 32, 8, 2),
    },
    "keys": {
        (2, 64): (64, 64, 8, 2),
        (2, 128): (64, 64, 8, 2),
        (2, 256): (32, 32, 8, 2),
        (4, 64): (32, 32, 4, 2),
        (4, 128): (16, 32, 4, 2),
    },
    "sinks": {
        (2, 64): (64, 16, 4, 2),
        (2, 128): (64, 16, 4, 2),
        (2, 256): (32, 16, 4, 2),
        (4, 64): (32, 16, 4, 2),
        (4, 128): (16, 16, 4, 2),
    },
}
"""Queries, keys, warps and stages by the bytes of a value and the width, which is at least 64; the
smallest blocks for float64 and for a width of 256 in float32, which are there to be checked."""
