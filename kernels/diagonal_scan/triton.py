"""The diagonal recurrence as Triton kernels, for a GPU or Triton's interpreter.

Shapes: B batch, T time, C channels, N chunks of time.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def compose(fade, value, next_fade, next_value):  # type: ignore[no-untyped-def]
    """First ``h -> fade h + value``, then the same with the next two."""
    return fade * next_fade, next_fade * value + next_value


@triton.jit  # type: ignore[untyped-decorator]
def _scan_tile(  # type: ignore[no-untyped-def]
    x,
    decay,
    rows,
    column,
    inside,
    time,
    x_time,
    x_channel,
    d_time,
    d_channel,
    reverse: tl.constexpr,
    wide: tl.constexpr,
):
    """What is added and the decays [rows, columns], in the order in which they are applied.

    In reverse, time runs backwards and a value fades by the decay of the step after it; nothing
    comes after the last step. Rows past the end change nothing.
    """
    if reverse:
        at = time - 1 - rows
        faded = at + 1
    else:
        at = rows
        faded = at
    known = (rows < time)[:, None] & inside[None, :]
    place = at[:, None] * x_time + column[None, :] * x_channel
    added = tl.load(x + place, mask=known, other=0.0).to(wide)
    known = known & (faded < time)[:, None]
    place = faded[:, None] * d_time + column[None, :] * d_channel
    return added, tl.load(decay + place, mask=known, other=1.0).to(wide)


@triton.jit  # type: ignore[untyped-decorator]
def _diagonal_ends(  # type: ignore[no-untyped-def]
    x,
    decay,
    ends,
    fades,
    time,
    channels,
    chunks,
    x_batch,
    x_time,
    x_channel,
    d_batch,
    d_time,
    d_channel,
    reverse: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_channels: tl.constexpr,
):
    """What a chunk makes of a state of zeros, and the product of its decays."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    first = (tl.program_id(0) % chunks).to(tl.int64) * chunk
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = column < channels
    row = tl.arange(0, block_time)
    is_last = (row == block_time - 1)[:, None]
    h = tl.zeros((block_channels,), dtype=wide)
    fade = h + 1.0
    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    for start in range(0, length, block_time):
        added, factors = _scan_tile(
            x + batch * x_batch,
            decay + batch * d_batch,
            first + start + row,
            column,
            inside,
            time,
            x_time,
            x_channel,
            d_time,
            d_channel,
            reverse,
            wide,
        )
        faded, seen = tl.associative_scan((factors, added), 0, compose)
        h = tl.sum(tl.where(is_last, seen + faded * h[None, :], 0.0), axis=0)
        fade *= tl.sum(tl.where(is_last, faded, 0.0), axis=0)
    place = tl.program_id(0).to(tl.int64) * channels + column
    tl.store(ends + place, h, mask=inside)
    tl.store(fades + place, fade, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _diagonal_scan(  # type: ignore[no-untyped-def]
    x,
    decay,
    state,
    carried,
    h,
    time,
    channels,
    chunks,
    x_batch,
    x_time,
    x_channel,
    d_batch,
    d_time,
    d_channel,
    reverse: tl.constexpr,
    wide: tl.constexpr,
    chunk: tl.constexpr,
    block_time: tl.constexpr,
    block_channels: tl.constexpr,
):
    """All states of one chunk, from the one before it: `state`, or what earlier chunks carried."""
    batch = (tl.program_id(0) // chunks).to(tl.int64)
    index = (tl.program_id(0) % chunks).to(tl.int64)
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = column < channels
    row = tl.arange(0, block_time)
    is_last = (row == block_time - 1)[:, None]
    carry = tl.zeros((block_channels,), dtype=wide)
    if index == 0:
        if state is not None:
            carry += tl.load(state + batch * channels + column, mask=inside, other=0.0)
    else:
        if carried is not None:
            before = (batch * chunks + index - 1) * channels + column
            carry += tl.load(carried + before, mask=inside, other=0.0)
    length = tl.minimum(chunk, time - (tl.program_id(0) % chunks) * chunk)
    for start in range(0, length, block_time):
        rows = index * chunk + start + row
        added, factors = _scan_tile(
            x + batch * x_batch,
            decay + batch * d_batch,
            rows,
            column,
            inside,
            time,
            x_time,
            x_channel,
            d_time,
            d_channel,
            reverse,
            wide,
        )
        faded, seen = tl.associative_scan((factors, added), 0, compose)
        seen += faded * carry[None, :]
        carry = tl.sum(tl.where(is_last, seen, 0.0), axis=0)
        at = time - 1 - rows if reverse else rows
        place = (batch * time + at)[:, None] * channels + column[None, :]
        tl.store(h + place, seen, mask=(rows < time)[:, None] & inside[None, :])


def _scan_blocks(channels: int) -> dict[str, int]:
    """Chunks of 128 steps, in tiles of 16 x 64: 16 values a thread for each of the few tiles that
    are alive at once. The length of a chunk is fixed, so that no sum depends on the batch."""
    return {
        "chunk": 128,
        "block_time": 16,
        "block_channels": min(64, triton.next_power_of_2(channels)),
        "num_warps": 2,
    }


def scan(x: Tensor, decay: Tensor, state: Tensor | None, *, reverse: bool = False) -> Tensor:
    """``h_t = decay_t h_{t-1} + x_t`` or, in reverse, ``h_t = decay_{t+1} h_{t+1} + x_t``, where
    what follows the last step is the state as it is.

    x and decay [B, T, C] of any strides; state [B, C] in h's dtype. Returns h [B, T, C]
    in float32, or float64 for float64. No gradient.
    """
    batch, time, channels = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)
    h = x.new_empty(x.shape, dtype=dtype)
    if not h.numel():
        return h
    blocks = _scan_blocks(channels)
    state = None if state is None else state.contiguous()
    chunks = triton.cdiv(time, blocks["chunk"])
    grid = (batch * chunks, triton.cdiv(channels, blocks["block_channels"]))
    sizes = (time, channels, chunks, *x.stride(), *decay.stride())
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    carried = None
    if chunks > 1:
        ends, fades = (x.new_empty(batch, chunks, channels, dtype=dtype) for _ in range(2))
        _diagonal_ends[grid](x, decay, ends, fades, *sizes, reverse=reverse, wide=wide, **blocks)
        carried = scan(ends, fades, state)
    _diagonal_scan[grid](x, decay, state, carried, h, *sizes, reverse=reverse, wide=wide, **blocks)
    return h


class _DiagonalScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: Tensor, state: Tensor | None) -> Tensor:
        h = scan(x, decay, state)
        ctx.save_for_backward(decay, state, h)
        ctx.x_dtype = x.dtype
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
        decay, state, h = ctx.saved_tensors
        dx = scan(dh, decay, None, reverse=True)
        ddecay = dstate = None
        if ctx.needs_input_grad[1]:
            ddecay = torch.empty_like(h)
            torch.mul(dx[:, 1:], h[:, :-1], out=ddecay[:, 1:])
            ddecay[:, 0] = 0.0 if state is None else dx[:, 0] * state
            ddecay = ddecay.to(decay.dtype)
        if ctx.needs_input_grad[2]:
            dstate = decay[:, 0].to(h.dtype) * dx[:, 0]
        return dx.to(ctx.x_dtype), ddecay, dstate


def diagonal_scan(x: Tensor, decay: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``h_t = decay_t * h_{t-1} + x_t``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    state = None if state is None else state.to(dtype).contiguous()
    h: Tensor = _DiagonalScan.apply(x, decay.to(dtype).expand_as(x), state)  # type: ignore[no-untyped-call]
    return h.to(x.dtype), h[:, -1].clone()  # a slice would keep all of h alive
