"""What the forward and the backward kernels of linear attention share.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length. Sums of decays are [L, T, K], or [L, T, 1] with one decay per head.
"""

import triton
import triton.language as tl


@triton.jit
def linear_place(heads, chunks):  # type: ignore[no-untyped-def]
    """Line, batch, head and chunk of a program, of which there is one for each line and chunk."""
    program = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    line = program // chunks
    return line, line // heads, line % heads, program % chunks


@triton.jit  # type: ignore[untyped-decorator]
def load_linear_rows(start, rows, columns, stride, height, width: tl.constexpr):  # type: ignore[no-untyped-def]
    """A tile of a matrix whose rows are `stride` apart; zeros outside of it."""
    inside = (rows < height)[:, None] & (columns < width)[None, :]
    return tl.load(start + rows[:, None] * stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def fade(sums, rests, start, here, there, inside_here, inside_there):  # type: ignore[no-untyped-def]
    """exp of the decay between two times of a chunk, offsets from `start` in the sums of decays.

    The order of the two does not matter and the exponent is never above 0, whatever is loaded.
    The difference of two large sums would lose the digits of a small decay between them; where
    that matters, `rests` holds what the sums have lost by rounding.
    """
    gap = tl.load(sums + start + here, mask=inside_here, other=0.0)
    gap -= tl.load(sums + start + there, mask=inside_there, other=0.0)
    if rests is not None:
        gap += tl.load(rests + start + here, mask=inside_here, other=0.0)
        gap -= tl.load(rests + start + there, mask=inside_there, other=0.0)
    return tl.exp(-tl.abs(gap))


@triton.jit
def fade_pairs(sums, rests, start, rows, height):  # type: ignore[no-untyped-def]
    """exp of the decay from s to t, [C, C] with t down and s across, 0 where t < s."""
    inside = rows < height
    decay = fade(sums, rests, start, rows[:, None], rows[None, :], inside[:, None], inside[None, :])
    return tl.where(rows[:, None] >= rows[None, :], decay, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def fade_to_end(  # type: ignore[no-untyped-def]
    sums, rests, start, rows, channels, height, width: tl.constexpr, chunk: tl.constexpr
):
    """exp of the decay from each row of a chunk to the chunk's last, [C, channels]."""
    known = (channels < width)[None, :]
    end = tl.minimum(height, chunk) - 1
    return fade(
        sums,
        rests,
        start,
        end * width + channels[None, :],
        rows[:, None] * width + channels[None, :],
        known,
        (rows < height)[:, None] & known,
    )


@triton.jit  # type: ignore[untyped-decorator]
def fade_over(sums, start, channels, height, width: tl.constexpr, chunk: tl.constexpr):  # type: ignore[no-untyped-def]
    """exp of the decay over a whole chunk, [channels]."""
    end = tl.minimum(height, chunk) - 1
    return tl.exp(tl.load(sums + start + end * width + channels, mask=channels < width, other=0.0))


@triton.jit  # type: ignore[untyped-decorator]
def fade_to_middle(sums, rests, start, rows, channels, height, width: tl.constexpr, level):  # type: ignore[no-untyped-def]
    """exp of the decay between each row and the middle of its block of 2 << `level` rows.

    The middle is the last row of the lower half: for rows above it this is the decay from the
    middle on, for the others the decay up to it.
    """
    middle = (rows >> level | 1) * (1 << level) - 1
    known = (channels < width)[None, :]
    return fade(
        sums,
        rests,
        start,
        rows[:, None] * width + channels[None, :],
        middle[:, None] * width + channels[None, :],
        (rows < height)[:, None] & known,
        (middle < height)[:, None] & known,
    )


@triton.jit  # type: ignore[untyped-decorator]
def channel_scores(  # type: ignore[no-untyped-def]
    queries,
    keys,
    sums,
    rests,
    start,
    rows,
    channels,
    height,
    width: tl.constexpr,
    levels: tl.constexpr,
    precision: tl.constexpr,
):
    """q_t . exp(G_t - G_s) k_s for s <= t, [C, C], with one decay per channel.

    A pair s < t is in one block of 2, 4, ... rows such that s is in its lower half and t in its
    upper one. There the decay is split at the middle: both factors are at most 1 for any decay.
    """
    wide = sums.dtype.element_ty
    later, earlier = rows[:, None], rows[None, :]
    own = tl.sum(queries.to(wide) * keys.to(wide), axis=1)
    scores = tl.where(later == earlier, own[:, None], 0.0)
    for level in tl.range(levels, num_stages=1):
        decay = fade_to_middle(sums, rests, start, rows, channels, height, width, level)
        upper = ((rows >> level) & 1) == 1
        faded = (tl.where(upper[:, None], queries, keys).to(wide) * decay).to(queries.dtype)
        products = tl.dot(faded, tl.trans(faded), input_precision=precision)
        here = (((later ^ earlier) >> level) == 1) & (later > earlier)
        scores += tl.where(here, products, 0.0)
    return scores


@triton.jit  # type: ignore[untyped-decorator]
def exact_dot(wide, narrow, precision: tl.constexpr):  # type: ignore[no-untyped-def]
    """`wide @ narrow` without rounding `wide` to the narrower type: it is split into three."""
    if wide.dtype == narrow.dtype:
        product = tl.dot(wide, narrow, input_precision=precision)
    else:
        high = wide.to(narrow.dtype)
        rest = wide - high.to(wide.dtype)
        middle = rest.to(narrow.dtype)
        low = (rest - middle.to(wide.dtype)).to(narrow.dtype)
        product = tl.dot(low, narrow)
        product = tl.dot(middle, narrow, product)
        product = tl.dot(high, narrow, product)
    return product
