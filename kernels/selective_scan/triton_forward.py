"""The forward kernels of the selective scan.

Shapes: B batch, T time, E channels, N states of each channel.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas.kernels.diagonal_scan.triton import compose, scan
from nas.kernels.selective_scan.triton_shared import (
    SHARED,
    expanded,
    kind_of,
    load_gain,
    load_scan_rows,
    place_of_states,
    sizes_of,
    wide_of,
)


@triton.jit  # type: ignore[untyped-decorator]
def _selective_ends(  # type: ignore[no-untyped-def]
    x,
    step,
    rates,
    write,
    ends,
    fades,
    time,
    states,
    channels,
    chunks,
    x_batch,
    x_time,
    x_channel,
    s_batch,
    s_time,
    s_channel,
    w_batch,
    w_time,
    w_state,
    w_channel,
    shared_write: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_states: tl.constexpr,
    block_channels: tl.constexpr,
):
    """What a chunk makes of states of zeros, and by how much it fades those before it."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    first = (tl.program_id(0) % chunks).to(tl.int64) * chunk
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    state = tl.arange(0, block_states)
    row = tl.arange(0, block_time)
    is_last = (row == block_time - 1)[:, None, None]
    place, inside = place_of_states(0, state, column, states, channels)
    rate = tl.load(rates + place, mask=inside, other=0.0)
    h = tl.zeros((block_states, block_channels), dtype=wide)
    total = tl.zeros((block_channels,), dtype=wide)
    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    for start in range(0, length, block_time):
        rows = first + start + row
        u = load_scan_rows(
            x + batch * x_batch, rows, column, time, channels, x_time, x_channel, wide
        )
        dt = load_scan_rows(
            step + batch * s_batch, rows, column, time, channels, s_time, s_channel, wide
        )
        gain = load_gain(
            write + batch * w_batch,
            rows,
            state,
            column,
            time,
            states,
            channels,
            w_time,
            w_state,
            w_channel,
            shared_write,
            wide,
        )
        decay = tl.exp(dt[:, None, :] * rate[None, :, :])
        faded, seen = tl.associative_scan((decay, gain * (dt * u)[:, None, :]), 0, compose)
        h = tl.sum(tl.where(is_last, seen + faded * h[None, :, :], 0.0), axis=0)
        total += tl.sum(dt, axis=0)
    place, inside = place_of_states(tl.program_id(0).to(tl.int64), state, column, states, channels)
    tl.store(ends + place, h, mask=inside)
    tl.store(fades + place, tl.exp(total[None, :] * rate), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _selective_forward(  # type: ignore[no-untyped-def]
    x,
    step,
    rates,
    write,
    read,
    starts,
    y,
    last,
    time,
    states,
    channels,
    chunks,
    x_batch,
    x_time,
    x_channel,
    s_batch,
    s_time,
    s_channel,
    w_batch,
    w_time,
    w_state,
    w_channel,
    r_batch,
    r_time,
    r_state,
    r_channel,
    shared_write: tl.constexpr,
    shared_read: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_states: tl.constexpr,
    block_channels: tl.constexpr,
):
    """y of one chunk from the states before it; the last chunk writes the last states."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    index = (tl.program_id(0) % chunks).to(tl.int64)
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    state = tl.arange(0, block_states)
    row = tl.arange(0, block_time)
    is_last = (row == block_time - 1)[:, None, None]
    place, inside = place_of_states(0, state, column, states, channels)
    rate = tl.load(rates + place, mask=inside, other=0.0)
    place, inside = place_of_states(batch * chunks + index, state, column, states, channels)
    h = tl.load(starts + place, mask=inside, other=0.0)
    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    for start in range(0, length, block_time):
        rows = index * chunk + start + row
        u = load_scan_rows(
            x + batch * x_batch, rows, column, time, channels, x_time, x_channel, wide
        )
        dt = load_scan_rows(
            step + batch * s_batch, rows, column, time, channels, s_time, s_channel, wide
        )
        gain = load_gain(
            write + batch * w_batch,
            rows,
            state,
            column,
            time,
            states,
            channels,
            w_time,
            w_state,
            w_channel,
            shared_write,
            wide,
        )
        reading = load_gain(
            read + batch * r_batch,
            rows,
            state,
            column,
            time,
            states,
            channels,
            r_time,
            r_state,
            r_channel,
            shared_read,
            wide,
        )
        decay = tl.exp(dt[:, None, :] * rate[None, :, :])
        faded, seen = tl.associative_scan((decay, gain * (dt * u)[:, None, :]), 0, compose)
        seen += faded * h[None, :, :]
        h = tl.sum(tl.where(is_last, seen, 0.0), axis=0)
        to = (batch * time + rows)[:, None] * channels + column[None, :]
        known = (rows < time)[:, None] & (column < channels)[None, :]
        tl.store(y + to, tl.sum(reading * seen, axis=1), mask=known)
    if index == chunks - 1:
        place, inside = place_of_states(batch, state, column, states, channels)
        tl.store(last + place, h, mask=inside)


def forward(
    x: Tensor, step: Tensor, rates: Tensor, write: Tensor, read: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """y, the last states, the states before each chunk [B, chunks, N, E], and the chunks' decays.

    rates and state are contiguous and in the type of the states.
    """
    sizes, dtype = sizes_of(x, rates), rates.dtype
    batch = x.shape[0]
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    starts = rates.new_empty(batch, sizes.chunks, *rates.shape)
    starts[:, 0] = 0.0 if state is None else state
    last, fades = rates.new_empty(batch, *rates.shape), None
    if not y.numel():
        return y, starts[:, 0].clone(), starts, fades
    common = {"shared_write": kind_of(write) == SHARED, "wide": wide_of(dtype), **sizes.blocks}
    shared_read = kind_of(read) == SHARED
    step, (write, read) = step.expand(x.shape), expanded(x, rates, write, read)
    strides = (*sizes.numbers, *x.stride(), *step.stride(), *write.stride())
    if sizes.chunks > 1:
        ends, fades = torch.empty_like(starts), torch.empty_like(starts)
        _selective_ends[sizes.grid](x, step, rates, write, ends, fades, *strides, **common)
        first = None if state is None else state.flatten(1)
        carried = scan(ends.flatten(2), fades.flatten(2), first)
        starts[:, 1:] = carried[:, :-1].unflatten(2, rates.shape)
    _selective_forward[sizes.grid](
        *(x, step, rates, write, read, starts, y, last, *strides, *read.stride()),
        shared_read=shared_read,
        **common,
    )
    return y, last, starts, fades
