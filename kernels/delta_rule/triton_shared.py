"""What the kernels of the delta rules share: where a program works, tiles, decays, products.

Shapes: B batch, H heads, L = B H lines, T time, N chunks, C chunk length, D any width. What comes
from outside or goes there lies in memory as [B, T, H, D], what is kept between kernels as
[L, T, D].
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def delta_place(heads, time, chunk: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where a program finds its chunk, of which axis 0 of the grid counts all of all lines.

    Its number, its first row in memory from outside and in memory between kernels, and how many of
    its rows there are.
    """
    program = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    chunks = tl.cdiv(time, chunk)
    line = program // chunks
    start = program % chunks * chunk
    outer = (line // heads * time + start) * heads + line % heads
    return program, outer, line * time + start, time - start


@triton.jit
def load_tile(start, rows, stride, columns, height, width):  # type: ignore[no-untyped-def]
    """A tile of a matrix whose rows are `stride` apart; zeros outside of it."""
    inside = (rows < height)[:, None] & (columns < width)[None, :]
    return tl.load(start + rows[:, None] * stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def store_tile(start, rows, stride, columns, height, width, tile):  # type: ignore[no-untyped-def]
    """Write a tile of a matrix whose rows are `stride` apart, and nothing outside of it."""
    inside = (rows < height)[:, None] & (columns < width)[None, :]
    target = start + rows[:, None] * stride + columns[None, :]
    tl.store(target, tile.to(start.dtype.element_ty), mask=inside)


@triton.jit
def load_column(start, rows, stride, height):  # type: ignore[no-untyped-def]
    """One number for each row, [rows, 1]; zeros outside."""
    return tl.load(start + rows * stride, mask=rows < height, other=0.0)[:, None]


@triton.jit  # type: ignore[untyped-decorator]
def load_decay(log_decay, rows, heads, columns, height, width, channel: tl.constexpr):  # type: ignore[no-untyped-def]
    """g of some rows: [rows, columns], or [rows, 1] with one decay for all channels."""
    if channel:
        return load_tile(log_decay, rows, heads * width, columns, height, width)
    else:
        return load_column(log_decay, rows, heads, height)


@triton.jit  # type: ignore[untyped-decorator]
def decay_start(log_decay, outer, width, channel: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where the decays of a row begin that is the `outer`-th from outside."""
    if channel:
        return log_decay + outer * width
    else:
        return log_decay + outer


@triton.jit  # type: ignore[untyped-decorator]
def since_start(log_decay, rows, heads, columns, height, width, channel: tl.constexpr):  # type: ignore[no-untyped-def]
    """exp of the decay from the start of a chunk to each row, the row's own included."""
    return tl.exp(
        tl.cumsum(load_decay(log_decay, rows, heads, columns, height, width, channel), axis=0)
    )


@triton.jit  # type: ignore[untyped-decorator]
def until_end(log_decay, rows, heads, columns, end, width, channel: tl.constexpr):  # type: ignore[no-untyped-def]
    """exp of the decay from after each row up to the row before `end`.

    A sum from the other side: the difference of two large sums would lose the digits of a small
    decay between them.
    """
    following = load_decay(log_decay, rows + 1, heads, columns, end, width, channel)
    return tl.exp(tl.cumsum(following, axis=0, reverse=True))


@triton.jit
def between(log_decay, rows, heads, height):  # type: ignore[no-untyped-def]
    """exp of the decay from after s to t, [C, C] with t down and s across, 0 where t < s."""
    later, earlier = rows[:, None], rows[None, :]
    steps = load_column(log_decay, rows, heads, height)
    passed = tl.cumsum(tl.where(later > earlier, steps, 0.0), axis=0)
    return tl.where(later >= earlier, tl.exp(passed), 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def dot(a, b, wide: tl.constexpr, precision: tl.constexpr):  # type: ignore[no-untyped-def]
    """``a @ b``, summed up in the wide type."""
    return tl.dot(a.to(wide), b.to(wide), input_precision=precision, out_dtype=wide)


@triton.jit  # type: ignore[untyped-decorator]
def dot_across(a, b, wide: tl.constexpr, precision: tl.constexpr):  # type: ignore[no-untyped-def]
    """``a @ b`` for an `a` of few rows: computed as its transpose, whose rows the warps share."""
    return tl.trans(dot(tl.trans(b), tl.trans(a), wide, precision))
