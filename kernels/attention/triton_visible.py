"""What the kernels of attention share: which keys a query sees, block by block.

Positions are those of the keys. A block of queries is held against the blocks of keys in two
rounds: first those of which some pairs are hidden, then those that are seen whole and need no mask.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def visible(  # type: ignore[no-untyped-def]
    position,
    column,
    keys,
    window,
    sinks,
    causal: tl.constexpr,
    windowed: tl.constexpr,
    side: tl.constexpr = "both",
):
    """Whether queries at `position` see keys at `column`, in whatever shape these broadcast to:
    "near" in the window, "far" as sinks outside of it, or "both"."""
    seen = column < keys
    if windowed:
        near = column > position - window
        if not causal:
            near = near & (column < position + window)
        if side == "both":
            near = near | (column < sinks)
        elif side == "far":
            near = (near == 0) & (column < sinks)
        seen = seen & near
    if causal:
        seen = seen & (column <= position)
    return seen


@triton.jit  # type: ignore[untyped-decorator]
def visible_count(position, keys, window, sinks, causal: tl.constexpr, windowed: tl.constexpr):  # type: ignore[no-untyped-def]
    """How many keys each query sees; 1 for a row that is no query."""
    last = keys - 1 + 0 * position
    early = tl.minimum(sinks, keys) + 0 * position
    if causal:
        last = tl.minimum(position, last)
        early = tl.minimum(early, position + 1)
    elif windowed:
        last = tl.minimum(position + window - 1, last)
    count = last + 1
    if windowed:
        first = tl.maximum(position - window + 1, 0)
        both = tl.maximum(tl.minimum(early, last + 1) - first, 0)
        count = last + 1 - first + early - both
    return tl.maximum(count, 1)


@triton.jit  # type: ignore[untyped-decorator]
def query_rows(  # type: ignore[no-untyped-def]
    queries, pair, block, time, count, start, routed: tl.constexpr, row_block: tl.constexpr
):
    """A block of queries: their places in the list of queries, their rows in q, whether there are
    such rows, their positions, and the first and last position (0 and -1 if there are none)."""
    place = block * row_block + tl.arange(0, row_block)
    inside = place < count
    if routed:
        row = tl.load(queries + pair.to(tl.int64) * count + place, mask=inside, other=-1)
        row = row.to(tl.int32)
        inside = (row >= 0) & (row < time)
        position = tl.where(inside, row + start, -1)
        low = tl.min(tl.where(inside, position, 2147483647), axis=0)
        high = tl.max(position, axis=0)
        low = tl.where(high < 0, 0, low)
    else:
        row = place
        position = start + place
        low = start + block * row_block
        high = tl.minimum(low + row_block, start + count) - 1
    return place, row, inside, position, low, high


@triton.jit  # type: ignore[untyped-decorator]
def key_blocks(  # type: ignore[no-untyped-def]
    low,
    high,
    keys,
    window,
    sinks,
    causal: tl.constexpr,
    windowed: tl.constexpr,
    block: tl.constexpr,
):
    """Blocks of keys for queries from position `low` to `high`: the number that hold sinks and lie
    before the others, the first of the others, and of these the numbers before, inside and after
    those that all the queries see whole."""
    begin = 0 * low
    end = keys + begin
    full_end = keys + begin
    if causal:
        end = tl.minimum(end, high + 1)
        full_end = tl.minimum(full_end, low + 1)
    elif windowed:
        end = tl.minimum(end, high + window)
        full_end = tl.minimum(full_end, low + window)
    full_begin = begin
    if windowed:
        begin = tl.maximum(low - window + 1, 0)
        full_begin = tl.maximum(high - window + 1, 0)
    first = begin // block
    after = tl.cdiv(tl.where(high < 0, 0, end), block)
    sunk = begin * 0
    if windowed:
        sunk = tl.minimum(tl.cdiv(tl.minimum(sinks, keys), block), first)
        if not causal:  # sinks may also lie after the window
            after = tl.maximum(after, tl.cdiv(tl.minimum(sinks, keys), block))
    after = tl.where(high < 0, first, tl.maximum(after, first))
    sunk = tl.where(high < 0, 0, sunk)
    full = tl.minimum(tl.maximum(tl.cdiv(full_begin, block), first), after)
    full_after = tl.minimum(tl.maximum(full_end // block, full), after)
    return sunk, first, full - first, full_after - full, after - full_after


@triton.jit  # type: ignore[untyped-decorator]
def query_blocks(  # type: ignore[no-untyped-def]
    column,
    count,
    start,
    window,
    causal: tl.constexpr,
    windowed: tl.constexpr,
    row_block: tl.constexpr,
    column_block: tl.constexpr,
):
    """The other way round: blocks of queries that see keys from `column` on in their window. The
    first, and the numbers before, inside and after those that see all the keys."""
    last = column + column_block - 1
    begin = 0 * column
    end = count + begin
    full_begin = begin
    full_end = count + begin
    if causal:
        begin = tl.maximum(column - start, 0)
        full_begin = tl.maximum(last - start, 0)
    elif windowed:
        begin = tl.maximum(column - window + 1 - start, 0)
        full_begin = tl.maximum(last - window + 1 - start, 0)
    if windowed:
        end = tl.minimum(end, tl.maximum(last + window - start, 0))
        full_end = tl.minimum(full_end, tl.maximum(column + window - start, 0))
    first = begin // row_block
    after = tl.maximum(tl.cdiv(end, row_block), first)
    full = tl.minimum(tl.maximum(tl.cdiv(full_begin, row_block), first), after)
    full_after = tl.minimum(tl.maximum(full_end // row_block, full), after)
    return first, full - first, full_after - full, after - full_after


@triton.jit  # type: ignore[untyped-decorator]
def block_at(index, edge: tl.constexpr, sunk, first, before, inside):  # type: ignore[no-untyped-def]
    """Which block the step `index` takes, in the round of the edges or of those seen whole."""
    if edge:
        far = tl.where(index < sunk + before, index - sunk, index - sunk + inside)
        block = tl.where(index < sunk, index, first + far)
    else:
        block = first + before + index
    return block


@triton.jit  # type: ignore[untyped-decorator]
def load_attention_rows(  # type: ignore[no-untyped-def]
    base, row, inside, stride, masked: tl.constexpr, width: tl.constexpr, block: tl.constexpr
):
    """Rows of `width` values each, filled up to `block` with zeros; zeros where not `inside`."""
    column = tl.arange(0, block)
    where = base + row[:, None] * stride + column[None, :]
    if masked and width == block:
        values = tl.load(where, mask=inside[:, None], other=0.0)
    elif masked:
        values = tl.load(where, mask=inside[:, None] & (column[None, :] < width), other=0.0)
    elif width == block:
        values = tl.load(where)
    else:
        values = tl.load(where, mask=column[None, :] < width, other=0.0)
    return values


@triton.jit  # type: ignore[untyped-decorator]
def store_rows(  # type: ignore[no-untyped-def]
    base, row, inside, stride, values, width: tl.constexpr, block: tl.constexpr
):
    """The counterpart of `load_attention_rows`."""
    column = tl.arange(0, block)
    where = base + row[:, None] * stride + column[None, :]
    keep = inside[:, None] & (column[None, :] < width)
    tl.store(where, values.to(base.dtype.element_ty), mask=keep)
