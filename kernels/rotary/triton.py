"""Rotary positions as a Triton kernel for a GPU or Triton's interpreter.

Backward is the same kernel with the angle reversed, so nothing of q and k is stored.

Shapes: B batch, H query heads, G key heads, T time, K head width, R rotary width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_HEADS = 4
"""Heads that a program turns by the angles that it has computed."""
_PAIRS = 512
"""Pairs of channels in a tile: 4 for each of 128 threads. Each costs a sine and a cosine, whose
reduction of large angles is long code."""
_REST = 1024
"""At most so many of the channels that stay as they are in a tile."""


@triton.jit  # type: ignore[untyped-decorator]
def _turn(x, y, at_x, at_y, cos, sin, half, width, time, row, pair, rest: tl.constexpr):  # type: ignore[no-untyped-def]
    """One head: `at_x` and `at_y` point to its rows [tile, 1]."""
    inside = (row < time)[:, None] & (pair < half)[None, :]
    column = pair[None, :]
    left = tl.load(x + at_x + column, mask=inside, other=0.0).to(cos.dtype)
    right = tl.load(x + at_x + half + column, mask=inside, other=0.0).to(cos.dtype)
    tl.store(y + at_y + column, left * cos - right * sin, mask=inside)
    tl.store(y + at_y + half + column, right * cos + left * sin, mask=inside)
    if rest > 0:
        channel = 2 * half + tl.arange(0, rest)[None, :]
        beyond = (row < time)[:, None] & (channel < width)
        tl.store(y + at_y + channel, tl.load(x + at_x + channel, mask=beyond), mask=beyond)


@triton.jit(do_not_specialize=["start"])  # type: ignore[untyped-decorator]
def _turn_heads(  # type: ignore[no-untyped-def]
    q, k, turned_q, turned_k, frequencies, positions, start,
    q_batch, q_head, q_row, k_batch, k_head, k_row,
    turned_q_batch, turned_q_head, turned_q_row, turned_k_batch, turned_k_head, turned_k_row,
    position_batch, position_row, heads, key_heads, time, half, width,
    inverse: tl.constexpr, each: tl.constexpr, tile: tl.constexpr, block: tl.constexpr,
    rest: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """A program computes the angles of `tile` tokens once, and turns `each` heads by them, counted
    from the first of q to the last of k. Arguments named like q_row are strides."""
    batch = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    pair = tl.arange(0, block)
    if positions is None:
        position = start + row
    else:
        at_row = batch * position_batch + row * position_row
        position = tl.load(positions + at_row, mask=row < time, other=0)
    turn = tl.load(frequencies + pair, mask=pair < half, other=0.0).to(wide)
    angle = position.to(wide)[:, None] * turn[None, :]
    cos = tl.cos(angle)
    sin = tl.sin(angle)
    if inverse:
        sin = -sin
    first = tl.program_id(1) * each
    for head in range(first, tl.minimum(first + each, heads)):
        at_q = batch * q_batch + head * q_head + row[:, None] * q_row
        at_turned = batch * turned_q_batch + head * turned_q_head + row[:, None] * turned_q_row
        _turn(q, turned_q, at_q, at_turned, cos, sin, half, width, time, row, pair, rest)
    last = tl.minimum(first + each, heads + key_heads)
    for key_head in range(tl.maximum(first - heads, 0), last - heads):
        at_k = batch * k_batch + key_head * k_head + row[:, None] * k_row
        at_turned = batch * turned_k_batch + key_head * turned_k_head + row[:, None] * turned_k_row
        _turn(k, turned_k, at_k, at_turned, cos, sin, half, width, time, row, pair, rest)


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, frequencies: Tensor, position: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        positions = position if isinstance(position, Tensor) else None
        ctx.save_for_backward(frequencies, positions)
        ctx.start = 0 if isinstance(position, Tensor) else position
        return _rotary_launch(q, k, frequencies, positions, ctx.start, inverse=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dq: Tensor, dk: Tensor) -> tuple[Tensor, Tensor, None, None]:
        frequencies, positions = ctx.saved_tensors
        return *_rotary_launch(dq, dk, frequencies, positions, ctx.start, inverse=True), None, None


def _rotary_launch(
    q: Tensor, k: Tensor, frequencies: Tensor, positions: Tensor | None, start: int, *,
    inverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, k = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k))
    turned = _empty_like(q), _empty_like(k)
    batch, heads, time, width = q.shape
    key_heads, half = k.shape[1], frequencies.shape[0]
    of_position = (0, 0) if positions is None else _rotary_strides(positions)
    block = triton.next_power_of_2(max(half, 1))
    rest = triton.next_power_of_2(width - 2 * half) if width > 2 * half else 0
    most = min(_PAIRS // block, _REST // max(rest, 1))
    tile = max(1, min(most, triton.next_power_of_2(time)))
    grid = (triton.cdiv(time, tile), triton.cdiv(heads + key_heads, _HEADS), batch)
    if all(grid):
        strides = [stride for x in (q, k, *turned) for stride in x.stride()[:3]]
        both = torch.promote_types(q.dtype, k.dtype)
        _turn_heads[grid](
            q, k, *turned, frequencies.contiguous(), positions, start, *strides, *of_position,
            heads, key_heads, time, half, width, inverse=inverse, each=_HEADS, tile=tile,
            block=block, rest=rest, wide=tl.float64 if both == torch.float64 else tl.float32,
        )  # fmt: skip
    return turned


def _empty_like(x: Tensor) -> Tensor:
    """In the layout of x where that is dense, so that heads may stay inside a token."""
    y = torch.empty_like(x)
    return y if y.stride(3) == 1 else torch.empty_like(x, memory_format=torch.contiguous_format)


def _rotary_strides(x: Tensor) -> tuple[int, ...]:
    """With 0 where an axis of length 1 stands for any length."""
    steps = zip(x.shape, x.stride(), strict=True)
    return tuple(0 if size == 1 else step for size, step in steps)


def rotary(
    q: Tensor, k: Tensor, frequencies: Tensor, position: int | Tensor = 0
) -> tuple[Tensor, Tensor]:
    """Channels i and i + R/2 turned by position x frequency i."""
    turned: tuple[Tensor, Tensor] = _Rotary.apply(q, k, frequencies, position)  # type: ignore[no-untyped-call]
    return turned
