"""The kernels of linear attention that run forward; backward, two of them run again, mirrored.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length.
"""

import triton
import triton.language as tl

from nas.kernels.linear_attention.triton_shared import (
    channel_scores,
    exact_dot,
    fade_over,
    fade_pairs,
    fade_to_end,
    linear_place,
    load_linear_rows,
)

LEAST: tl.constexpr = tl.constexpr(-1e4)
"""Weaker decays than this one are 0 in any precision, so that nothing stronger has to be summed."""


@triton.jit  # type: ignore[untyped-decorator]
def sum_decays(  # type: ignore[no-untyped-def]
    log_decay,
    sums,
    rests,
    heads,
    time,
    chunks,
    batch_stride,
    head_stride,
    time_stride,
    channel_stride,
    width: tl.constexpr,
    chunk: tl.constexpr,
    block: tl.constexpr,
):
    """Sums of g from the start of a chunk on, for one chunk and some channels.

    Where `rests` is given, the sums are taken in float64 and it gets what rounding them loses.
    """
    line, batch, head, n = linear_place(heads, chunks)
    rows = tl.arange(0, chunk)
    channels = tl.program_id(1) * block + tl.arange(0, block)
    start = n * chunk
    inside = (rows < time - start)[:, None] & (channels < width)[None, :]
    source = log_decay + batch * batch_stride + head * head_stride + start * time_stride
    source += rows[:, None] * time_stride + channels[None, :] * channel_stride
    g = tl.load(source, mask=inside, other=0.0)
    g = g.to(tl.float64) if rests is not None else g.to(sums.dtype.element_ty)
    total = tl.cumsum(tl.where(g < LEAST, LEAST, g), axis=0)
    rounded = total.to(sums.dtype.element_ty)
    target = (line * time + start) * width + rows[:, None] * width + channels[None, :]
    tl.store(sums + target, rounded, mask=inside)
    if rests is not None:
        tl.store(rests + target, (total - rounded.to(tl.float64)).to(rounded.dtype), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def carry_linear_states(  # type: ignore[no-untyped-def]
    keys,
    values,
    sums,
    rests,
    first,
    states,
    last,
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
    block_k: tl.constexpr,
    block_v: tl.constexpr,
    backward: tl.constexpr,
    precision: tl.constexpr,
):
    """The state before each chunk and after the last, for one tile of one line's state.

    Backward, keys are the queries, values the gradients of the outputs, and time runs from the end:
    out come the gradients of the state after each chunk and of the one before the first.
    """
    line = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    rows = tl.arange(0, chunk)
    channels = tl.program_id(1) * block_k + tl.arange(0, block_k)
    columns = tl.program_id(2) * block_v + tl.arange(0, block_v)
    tile = channels[:, None] * value_dim + columns[None, :]
    inside = (channels < key_dim)[:, None] & (columns < value_dim)[None, :]
    size = key_dim * value_dim
    wide = sums.dtype.element_ty
    keys += line // heads * key_batch + line % heads * key_head
    values += line // heads * value_batch + line % heads * value_head
    state = tl.zeros([block_k, block_v], dtype=wide)
    if first is not None:
        state += tl.load(first + line * size + tile, mask=inside, other=0.0)
    decays = channels if width > 1 else tl.arange(0, 1)
    for step in range(chunks):
        n = step
        if backward:
            n = chunks - 1 - step
        stored = states + (line * chunks + n) * size + tile
        tl.store(stored, state.to(states.dtype.element_ty), mask=inside)
        start = tl.cast(n, tl.int64) * chunk
        height = time - n * chunk
        key = load_linear_rows(keys + start * key_time, rows, channels, key_time, height, key_dim)
        value = load_linear_rows(
            values + start * value_time, rows, columns, value_time, height, value_dim
        )
        here = (line * time + start) * width
        if backward:
            decay = tl.exp(load_linear_rows(sums + here, rows, decays, width, height, width))
        else:
            decay = fade_to_end(sums, rests, here, rows, decays, height, width, chunk)
        faded = tl.trans(key.to(wide) * decay)
        kept = fade_over(sums, here, decays, height, width, chunk)
        state = state * kept[:, None] + exact_dot(faded, value, precision)
    tl.store(last + line * size + tile, state, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def mix_values(  # type: ignore[no-untyped-def]
    q,
    k,
    values,
    sums,
    rests,
    states,
    mixed,
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
    backward: tl.constexpr,
    precision: tl.constexpr,
):
    """The outputs of one chunk in some value columns: from its values and the state before it.

    Backward, the gradient of the values: from that of the outputs and of the state after it.
    """
    line, batch, head, n = linear_place(heads, chunks)
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block_v + tl.arange(0, block_v)
    start = n * chunk
    height = time - start
    here = (line * time + start) * width
    wide = sums.dtype.element_ty
    q += batch * key_batch + head * key_head + start * key_time
    k += batch * key_batch + head * key_head + start * key_time
    states += (line * chunks + n) * key_dim * value_dim
    scores = tl.zeros([chunk, chunk], dtype=wide)
    mix = tl.zeros([chunk, block_v], dtype=wide)
    for first in range(0, key_dim, block_k):
        channels = first + tl.arange(0, block_k)
        query = load_linear_rows(q, rows, channels, key_time, height, key_dim)
        key = load_linear_rows(k, rows, channels, key_time, height, key_dim)
        state = load_linear_rows(states, channels, columns, value_dim, key_dim, value_dim)
        if width > 1:
            scores += channel_scores(
                query, key, sums, rests, here, rows, channels, height, width, levels, precision
            )
        else:
            scores = tl.dot(query, tl.trans(key), scores, input_precision=precision)
        decays = channels if width > 1 else tl.arange(0, 1)
        if backward:
            decay = fade_to_end(sums, rests, here, rows, decays, height, width, chunk)
            faded = (key.to(wide) * decay).to(state.dtype)
        else:
            decay = tl.exp(load_linear_rows(sums + here, rows, decays, width, height, width))
            faded = (query.to(wide) * decay).to(state.dtype)
        mix = tl.dot(faded, state, mix, input_precision=precision)
    if width == 1:
        scores *= fade_pairs(sums, rests, here, rows, height)
    if backward:
        scores = tl.trans(scores)
    values += batch * value_batch + head * value_head + start * value_time
    value = load_linear_rows(values, rows, columns, value_time, height, value_dim)
    mix = tl.dot(scores.to(value.dtype), value, mix, input_precision=precision)
    inside = (rows < height)[:, None] & (columns < value_dim)[None, :]
    target = ((batch * time + start) * heads + head) * value_dim
    target += rows[:, None] * heads * value_dim + columns[None, :]
    tl.store(mixed + target, mix.to(mixed.dtype.element_ty), mask=inside)
