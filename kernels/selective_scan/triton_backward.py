"""The backward kernels of the selective scan.

Shapes: B batch, T time, E channels, N states of each channel.

With decay a_t = exp(step_t rates) and b_t = write_t step_t x_t, the gradient of the states is
``g_t = read_t dy_t + a_{t+1} g_{t+1}``. Of the states it needs h_t and ``c_t = a_t h_{t-1}``.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas.kernels.diagonal_scan.triton import compose, scan
from nas.kernels.selective_scan.triton_shared import (
    FIXED,
    FREE,
    SHARED,
    expanded,
    kind_of,
    load_gain,
    load_scan_rows,
    place_of_states,
    sizes_of,
    wide_of,
)


@triton.jit
def _compose_before(fade, added, before, next_fade, next_added, next_before):  # type: ignore[no-untyped-def]
    """Steps ``c = fade (c_prev + added_prev)``: the state before each step, faded by it, as if
    nothing came before the first. Nothing is subtracted, so that strong decays lose no digits."""
    return fade * next_fade, next_added, next_fade * (before + added) + next_before


@triton.jit
def _compose_flow(passed, flow, fade, next_passed, next_flow, next_fade):  # type: ignore[no-untyped-def]
    """Steps ``g = q + fade_later g_later``, where the next step is the earlier one."""
    through = next_passed * fade
    return through * passed, next_flow + through * flow, next_fade


@triton.jit  # type: ignore[untyped-decorator]
def _selective_flows(  # type: ignore[no-untyped-def]
    step,
    rates,
    read,
    dy,
    flows,
    time,
    states,
    channels,
    chunks,
    s_batch,
    s_time,
    s_channel,
    r_batch,
    r_time,
    r_state,
    r_channel,
    shared_read: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_states: tl.constexpr,
    block_channels: tl.constexpr,
):
    """The gradient that a chunk gives to the states before it if none reaches those after it."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    first = (tl.program_id(0) % chunks).to(tl.int64) * chunk
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    state = tl.arange(0, block_states)
    row = tl.arange(0, block_time)
    is_first = (row == 0)[:, None, None]
    place, inside = place_of_states(0, state, column, states, channels)
    rate = tl.load(rates + place, mask=inside, other=0.0)
    flow = tl.zeros((block_states, block_channels), dtype=wide)
    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    used = (length + block_time - 1) // block_time
    for back in range(used):
        rows = first + (used - 1 - back) * block_time + row
        dt = load_scan_rows(
            step + batch * s_batch, rows, column, time, channels, s_time, s_channel, wide
        )
        grad = load_scan_rows(
            dy + batch * time * channels, rows, column, time, channels, channels, 1, wide
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
        faded, seen = tl.associative_scan(
            (decay, decay * (reading * grad[:, None, :])), 0, compose, reverse=True
        )
        flow = tl.sum(tl.where(is_first, seen + faded * flow[None, :, :], 0.0), axis=0)
    place, inside = place_of_states(tl.program_id(0).to(tl.int64), state, column, states, channels)
    tl.store(flows + place, flow, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _store_gain(  # type: ignore[no-untyped-def]
    dgain,
    found,
    batch,
    rows,
    state,
    column,
    time,
    states,
    channels,
    sequences,
    kind: tl.constexpr,
):
    """The gradient [rows, states, columns] of a gain, summed over columns if these share it."""
    known = (rows < time)[:, None] & (state < states)[None, :]
    place = (batch * time + rows)[:, None] * states + state[None, :]
    if kind == 0:
        part = tl.program_id(1).to(tl.int64) * sequences * time * states
        tl.store(dgain + part + place, tl.sum(found, axis=2), mask=known)
    if kind == 2:
        place = place[:, :, None] * channels + column[None, None, :]
        tl.store(dgain + place, found, mask=known[:, :, None] & (column < channels)[None, None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _selective_backward(  # type: ignore[no-untyped-def]
    x,
    step,
    rates,
    write,
    read,
    starts,
    flows,
    dy,
    dx,
    dstep,
    drates,
    dwrite,
    dread,
    sequences,
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
    write_kind: tl.constexpr,
    read_kind: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_states: tl.constexpr,
    block_channels: tl.constexpr,
):
    """All gradients of one chunk, from the states before it and the gradient `flows` that its last
    states receive. A first pass keeps the states before each tile; a second goes from the last tile
    to the first and recomputes the states inside each."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    index = (tl.program_id(0) % chunks).to(tl.int64)
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    state = tl.arange(0, block_states)
    row = tl.arange(0, block_time)
    tiles: tl.constexpr = chunk // block_time
    tile_index = tl.arange(0, tiles)[:, None, None]
    is_first = (row == 0)[:, None, None]
    is_last = (row == block_time - 1)[:, None, None]
    x += batch * x_batch
    step += batch * s_batch
    write += batch * w_batch
    read += batch * r_batch
    place, inside = place_of_states(0, state, column, states, channels)
    rate = tl.load(rates + place, mask=inside, other=0.0)
    place, inside = place_of_states(batch * chunks + index, state, column, states, channels)
    h = tl.load(starts + place, mask=inside, other=0.0)
    flow = tl.load(flows + place, mask=inside, other=0.0)

    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    used = (length + block_time - 1) // block_time
    before = tl.zeros((tiles, block_states, block_channels), dtype=wide)
    for tile in range(used):
        before = tl.where(tile_index == tile, h[None, :, :], before)
        rows = index * chunk + tile * block_time + row
        u = load_scan_rows(x, rows, column, time, channels, x_time, x_channel, wide)
        dt = load_scan_rows(step, rows, column, time, channels, s_time, s_channel, wide)
        gain = load_gain(
            write,
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

    rate_sums = tl.zeros((block_states, block_channels), dtype=wide)
    write_sums = tl.zeros((block_states, block_channels), dtype=wide)
    read_sums = tl.zeros((block_states, block_channels), dtype=wide)
    for back in range(used):
        tile = used - 1 - back
        rows = index * chunk + tile * block_time + row
        u = load_scan_rows(x, rows, column, time, channels, x_time, x_channel, wide)
        dt = load_scan_rows(step, rows, column, time, channels, s_time, s_channel, wide)
        grad = load_scan_rows(
            dy + batch * time * channels, rows, column, time, channels, channels, 1, wide
        )
        gain = load_gain(
            write,
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
            read,
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
        added = gain * (dt * u)[:, None, :]
        h = tl.sum(tl.where(tile_index == tile, before, 0.0), axis=0)
        faded, _, kept = tl.associative_scan((decay, added, decay * 0.0), 0, _compose_before)
        kept += faded * h[None, :, :]
        found = grad[:, None, :] * (kept + added)
        _store_gain(
            dread,
            found,
            batch,
            rows,
            state,
            column,
            time,
            states,
            channels,
            sequences,
            read_kind,
        )
        read_sums += tl.sum(found, axis=0)
        one = decay * 0.0 + 1.0
        passed, g, _ = tl.associative_scan(
            (one, reading * grad[:, None, :], decay), 0, _compose_flow, reverse=True
        )
        g += passed * flow[None, :, :]
        flow = tl.sum(tl.where(is_first, decay * g, 0.0), axis=0)
        found = g * (dt * u)[:, None, :]
        _store_gain(
            dwrite,
            found,
            batch,
            rows,
            state,
            column,
            time,
            states,
            channels,
            sequences,
            write_kind,
        )
        write_sums += tl.sum(found, axis=0)
        kept *= g  # the gradient of step rates
        rate_sums += tl.sum(kept * dt[:, None, :], axis=0)
        pushed = tl.sum(g * gain, axis=1)
        to = (batch * time + rows)[:, None] * channels + column[None, :]
        known = (rows < time)[:, None] & (column < channels)[None, :]
        tl.store(dx + to, pushed * dt, mask=known)
        tl.store(dstep + to, pushed * u + tl.sum(kept * rate[None, :, :], axis=1), mask=known)

    tl.store(drates + place, rate_sums, mask=inside)
    if write_kind == 1:
        tl.store(dwrite + place, write_sums, mask=inside)
    if read_kind == 1:
        tl.store(dread + place, read_sums, mask=inside)


def _gain_sums(gain: Tensor, kind: int, chunks: int, across: int, dtype: torch.dtype) -> Tensor:
    """Room for the parts of a gain's gradient, which `_gain_gradient` adds up."""
    batch, time, states, channels = gain.shape
    shape = {
        SHARED: (across, batch, time, states),
        FIXED: (batch, chunks, states, channels),
        FREE: (batch, time, states, channels),
    }[kind]
    return torch.empty(shape, dtype=dtype, device=gain.device)


def _gain_gradient(parts: Tensor, gain: Tensor, kind: int) -> Tensor:
    if kind == SHARED:
        total = parts.sum(0).unsqueeze(3)
    else:
        total = parts.sum(1, keepdim=True) if kind == FIXED else parts
    return total.sum_to_size(gain.shape).to(gain.dtype)


def backward(
    x: Tensor,
    step: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    starts: Tensor,
    fades: Tensor | None,
    dy: Tensor,
    dlast: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of x, step, rates, write, read and the first state [B, N, E]."""
    sizes, dtype = sizes_of(x, rates), rates.dtype
    gains, kinds, step_like = (write, read), (kind_of(write), kind_of(read)), step
    step, (write, read) = step.expand(x.shape), expanded(x, rates, *gains)
    dy = dy.contiguous()
    common = {"shared_read": kinds[1] == SHARED, "wide": wide_of(dtype), **sizes.blocks}
    flows = torch.empty_like(starts)
    own = torch.empty_like(starts)
    _selective_flows[sizes.grid](
        *(step, rates, read, dy, own, *sizes.numbers, *step.stride(), *read.stride()), **common
    )
    # what flows back from each chunk, the last first; the fades of one chunk alone are not kept
    if fades is None:
        fades = (step.to(dtype).sum(1)[:, None, None] * rates).to(dtype).exp()
    back = scan(own.flip(1).flatten(2), fades.flip(1).flatten(2), dlast.flatten(1))
    back = back.flip(1).unflatten(2, rates.shape)
    flows[:, -1] = dlast
    flows[:, :-1] = back[:, 1:]
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    dstep = torch.empty(x.shape, dtype=dtype, device=x.device)
    drates = torch.empty_like(starts)
    dwrite, dread = (
        _gain_sums(gain, kind, sizes.chunks, sizes.across, dtype)
        for gain, kind in zip((write, read), kinds, strict=True)
    )
    _selective_backward[sizes.grid](
        *(x, step, rates, write, read, starts, flows, dy, dx, dstep, drates, dwrite, dread),
        *(x.shape[0], *sizes.numbers),
        *(*x.stride(), *step.stride(), *write.stride(), *read.stride()),
        shared_write=kinds[0] == SHARED,
        write_kind=kinds[0],
        read_kind=kinds[1],
        **common,
    )
    return (
        dx,
        dstep.sum_to_size(step_like.shape).to(step_like.dtype),
        drates.sum((0, 1)),
        _gain_gradient(dwrite, gains[0], kinds[0]),
        _gain_gradient(dread, gains[1], kinds[1]),
        back[:, 0],
    )
