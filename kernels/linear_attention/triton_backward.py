"""The kernel of linear attention that turns gradients of chunks into those of q, k and decays.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length.
"""

import triton
import triton.language as tl

from nas.kernels.linear_attention.triton_shared import (
    fade_over,
    fade_pairs,
    fade_to_end,
    fade_to_middle,
    linear_place,
    load_linear_rows,
)


@triton.jit  # type: ignore[untyped-decorator]
def grade_inputs(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    doutputs,
    sums,
    rests,
    states,
    dstates,
    dq,
    dk,
    dg,
    heads,
    time,
    chunks,
    key_batch,
    key_head,
    key_time,
    value_batch,
    value_head,
    value_time,
    width: tl.constexpr,
    key_dim: tl.constexpr,
    value_dim: tl.constexpr,
    chunk: tl.constexpr,
    levels: tl.constexpr,
    block_k: tl.constexpr,
    block_v: tl.constexpr,
    precision: tl.constexpr,
):
    """The gradients of q, k and the decays, for one chunk and some key channels.

    With one decay per head, each block of channels gives its part of that decay's gradient. Where
    `dg` is None, nobody asked for the gradient of the decays.
    """
    line, batch, head, n = linear_place(heads, chunks)
    rows = tl.arange(0, chunk)
    channels = tl.program_id(1) * block_k + tl.arange(0, block_k)
    decays = channels if width > 1 else tl.arange(0, 1)
    start = n * chunk
    height = time - start
    here = (line * time + start) * width
    wide = sums.dtype.element_ty
    q += batch * key_batch + head * key_head + start * key_time
    k += batch * key_batch + head * key_head + start * key_time
    v += batch * value_batch + head * value_head + start * value_time
    states += (line * chunks + n) * key_dim * value_dim
    dstates += (line * chunks + n) * key_dim * value_dim
    token = (batch * time + start) * heads + head  # the layout of all that is made here
    doutputs += token * value_dim
    dscores = tl.zeros([chunk, chunk], dtype=wide)
    dquery = tl.zeros([chunk, block_k], dtype=wide)
    dkey = tl.zeros([chunk, block_k], dtype=wide)
    through = tl.zeros([block_k], dtype=wide)
    for first in range(0, value_dim, block_v):
        columns = first + tl.arange(0, block_v)
        value = load_linear_rows(v, rows, columns, value_time, height, value_dim)
        doutput = load_linear_rows(doutputs, rows, columns, heads * value_dim, height, value_dim)
        state = load_linear_rows(states, channels, columns, value_dim, key_dim, value_dim)
        dstate = load_linear_rows(dstates, channels, columns, value_dim, key_dim, value_dim)
        dscores = tl.dot(doutput, tl.trans(value), dscores, input_precision=precision)
        dquery = tl.dot(doutput, tl.trans(state), dquery, input_precision=precision)
        dkey = tl.dot(value, tl.trans(dstate), dkey, input_precision=precision)
        through += tl.sum(state.to(wide) * dstate.to(wide), axis=1)
    query = load_linear_rows(q, rows, channels, key_time, height, key_dim)
    key = load_linear_rows(k, rows, channels, key_time, height, key_dim)
    dquery *= tl.exp(load_linear_rows(sums + here, rows, decays, width, height, width))
    dkey *= fade_to_end(sums, rests, here, rows, decays, height, width, chunk)
    through *= fade_over(sums, here, decays, height, width, chunk)
    inside = (rows < height)[:, None] & (channels < key_dim)[None, :]
    if width > 1:
        dquery, dkey, ddecay = _within_channels(
            query, key, dscores, dquery, dkey, sums, rests, here, rows, channels, height, width,
            levels, precision,
        )  # fmt: skip
        if dg is not None:
            target = here + rows[:, None] * width + channels[None, :]
            tl.store(dg + target, ddecay + through[None, :], mask=inside)
    else:
        decay = fade_pairs(sums, rests, here, rows, height)
        if dg is not None:
            ddecay = _ddecay_of_head(query, key, dscores * decay, dquery, dkey, rows, precision)
            target = dg + tl.program_id(1) * (tl.num_programs(0) // chunks) * time + here + rows
            tl.store(target, ddecay + tl.sum(through, axis=0), mask=rows < height)
        weights = (dscores * decay).to(query.dtype)
        dquery = tl.dot(weights, key, dquery, input_precision=precision)
        dkey = tl.dot(tl.trans(weights), query, dkey, input_precision=precision)
    target = token * key_dim + rows[:, None] * heads * key_dim + channels[None, :]
    tl.store(dq + target, dquery.to(dq.dtype.element_ty), mask=inside)
    tl.store(dk + target, dkey.to(dk.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _ddecay_of_head(query, key, weights, dquery, dkey, rows, precision: tl.constexpr):  # type: ignore[no-untyped-def]
    """The gradient of one decay per head, [C]: what passes from before a row to that row or on."""
    later, earlier = rows[:, None], rows[None, :]
    products = tl.dot(query, tl.trans(key), input_precision=precision)
    pairs = tl.where(later > earlier, products * weights, 0.0).to(query.dtype)
    ones = tl.where(later <= earlier, 1.0, 0.0).to(query.dtype)
    passing = tl.dot(ones, pairs, input_precision=precision)
    arriving = tl.sum(query.to(weights.dtype) * dquery, axis=1)
    leaving = tl.sum(key.to(weights.dtype) * dkey, axis=1)
    crossing = tl.where(later <= earlier, arriving[None, :], leaving[None, :] + passing)
    return tl.sum(crossing, axis=1)


@triton.jit  # type: ignore[untyped-decorator]
def _within_channels(  # type: ignore[no-untyped-def]
    query,
    key,
    dscores,
    dquery,
    dkey,
    sums,
    rests,
    here,
    rows,
    channels,
    height,
    width: tl.constexpr,
    levels: tl.constexpr,
    precision: tl.constexpr,
):
    """Add to the gradients of queries and keys what passes inside the chunk, and find the decays'.

    The levels are those of `channel_scores`. In each one a row is either a query or a key, so that
    one product serves both. A decay is passed by what goes from before its row to its row or on:
    sums of like terms, where the usual difference of prefix sums would cancel.
    """
    wide = sums.dtype.element_ty
    later, earlier = rows[:, None], rows[None, :]
    ones = tl.where(later <= earlier, 1.0, 0.0).to(query.dtype)
    arriving = (query.to(wide) * dquery).to(query.dtype)
    ddecay = tl.dot(ones, arriving, input_precision=precision)
    ones = tl.where(later > earlier, 1.0, 0.0).to(query.dtype)
    leaving = (key.to(wide) * dkey).to(query.dtype)
    ddecay = tl.dot(ones, leaving, ddecay, input_precision=precision)
    dscores = tl.where(later >= earlier, dscores, 0.0)
    own = tl.sum(tl.where(later == earlier, dscores, 0.0), axis=1)[:, None]
    dquery += own * key.to(wide)
    dkey += own * query.to(wide)
    both = dscores + tl.trans(dscores)
    for level in tl.range(levels, num_stages=1):
        decay = fade_to_middle(sums, rests, here, rows, channels, height, width, level)
        upper = ((rows >> level) & 1) == 1
        faded = tl.where(upper[:, None], query, key).to(wide) * decay
        across = ((later ^ earlier) >> level) == 1
        weights = tl.where(across, both, 0.0).to(query.dtype)
        passed = tl.dot(weights, faded.to(query.dtype), input_precision=precision)
        dquery += tl.where(upper[:, None], passed * decay, 0.0)
        dkey += tl.where(upper[:, None], 0.0, passed * decay)
        beyond = tl.where(upper[:, None], later <= earlier, later > earlier)
        beyond = beyond & ((later >> level) == (earlier >> level))
        ones = tl.where(beyond, 1.0, 0.0).to(query.dtype)
        crossing = (passed * faded).to(query.dtype)
        ddecay = tl.dot(ones, crossing, ddecay, input_precision=precision)
    return dquery, dkey, ddecay
