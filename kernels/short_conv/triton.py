"""A short causal convolution as Triton kernels, for a GPU or Triton's interpreter.

Shapes: B batch, T time, C channels, W width, P programs that share the rows.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_CONV_PROGRAMS = 1024
"""About this many programs share the gradient of the weight; fixed, so that its sums come out the
same every time."""


@triton.jit  # type: ignore[untyped-decorator]
def _conv_rows(x, latest, batch, at, column, time, channels, x_batch, x_time, width: tl.constexpr):  # type: ignore[no-untyped-def]
    """Inputs at times `at`, [rows, columns]: before 0 from `latest` if there is any, else zero."""
    known = (at < time)[:, None] & (column < channels)[None, :]
    start = x + batch * x_batch + column[None, :]
    found = tl.load(start + at[:, None] * x_time, mask=known & (at >= 0)[:, None], other=0.0)
    if latest is not None:
        kept = at + (width - 1)
        place = (batch * (width - 1) + kept)[:, None] * channels + column[None, :]
        mask = known & ((at < 0) & (kept >= 0))[:, None]
        found += tl.load(latest + place, mask=mask, other=0.0)
    return found


@triton.jit  # type: ignore[untyped-decorator]
def _short_conv_forward(  # type: ignore[no-untyped-def]
    x,
    latest,
    weight,
    bias,
    dy,
    out,
    time,
    channels,
    x_batch,
    x_time,
    tiles,
    width: tl.constexpr,
    silu: tl.constexpr,
    wide: tl.constexpr,
    block_time: tl.constexpr,
    block_channels: tl.constexpr,
):
    """A tile [block_time, block_channels] of y or, given dy, of the gradient before the SiLU."""
    batch = (tl.program_id(0) // tiles).to(tl.int64)
    rows = (tl.program_id(0) % tiles).to(tl.int64) * block_time + tl.arange(0, block_time)
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = column < channels
    total = tl.zeros((block_time, block_channels), dtype=wide)
    for tap in range(width):
        at = rows + (tap - (width - 1))
        values = _conv_rows(x, latest, batch, at, column, time, channels, x_batch, x_time, width)
        w = tl.load(weight + column * width + tap, mask=inside, other=0.0).to(wide)
        total += values.to(wide) * w[None, :]
    if bias is not None:
        total += tl.load(bias + column, mask=inside, other=0.0).to(wide)[None, :]
    place = (batch * time + rows)[:, None] * channels + column[None, :]
    mask = (rows < time)[:, None] & inside[None, :]
    if silu:
        sigmoid = 1.0 / (1.0 + tl.exp(-total))
        if dy is not None:
            slope = sigmoid * (1.0 + total * (1.0 - sigmoid))
            total = tl.load(dy + place, mask=mask, other=0.0).to(wide) * slope
        else:
            total *= sigmoid
    tl.store(out + place, total, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _short_conv_backward(  # type: ignore[no-untyped-def]
    x,
    latest,
    weight,
    dz,
    dx,
    dlatest,
    dweight,
    dbias,
    time,
    channels,
    x_batch,
    x_time,
    total_tiles,
    tiles,
    width: tl.constexpr,
    taps: tl.constexpr,
    wide: tl.constexpr,
    block_time: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Tiles of dx, one after another, and the sums over them of the gradients of the parameters.

    A value x_t meets weight_j in y_{t + W - 1 - j}: the same shifted rows of dz, the gradient
    before the activation, serve dx and dweight. With `dlatest`, rows begin at those before x.
    """
    column = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = column < channels
    tap_index = tl.arange(0, taps)[:, None]
    weight_sums = tl.zeros((taps, block_channels), dtype=wide)
    bias_sums = tl.zeros((block_channels,), dtype=wide)
    for tile in range(tl.program_id(0), total_tiles, tl.num_programs(0)):
        batch = (tile // tiles).to(tl.int64)
        rows = (tile % tiles).to(tl.int64) * block_time + tl.arange(0, block_time)
        if dlatest is not None:
            rows -= width - 1
        values = _conv_rows(x, latest, batch, rows, column, time, channels, x_batch, x_time, width)
        values = values.to(wide)
        grad = tl.zeros((block_time, block_channels), dtype=wide)
        for tap in range(width):
            at = rows + (width - 1 - tap)
            place = (batch * time + at)[:, None] * channels + column[None, :]
            known = ((at >= 0) & (at < time))[:, None] & inside[None, :]
            dz_at = tl.load(dz + place, mask=known, other=0.0).to(wide)
            w = tl.load(weight + column * width + tap, mask=inside, other=0.0).to(wide)
            grad += dz_at * w[None, :]
            met = tl.sum(dz_at * values, axis=0)[None, :]
            weight_sums += tl.where(tap_index == tap, met, 0.0)
        place = (batch * time + rows)[:, None] * channels + column[None, :]
        known = ((rows >= 0) & (rows < time))[:, None] & inside[None, :]
        tl.store(dx + place, grad, mask=known)
        if dlatest is not None:
            kept = rows + (width - 1)
            before = (batch * (width - 1) + kept)[:, None] * channels + column[None, :]
            tl.store(dlatest + before, grad, mask=(rows < 0)[:, None] & inside[None, :])
        if dbias is not None:
            bias_sums += tl.sum(tl.load(dz + place, mask=known, other=0.0).to(wide), axis=0)
    program = tl.program_id(0).to(tl.int64)
    place = (program * width + tap_index) * channels + column[None, :]
    tl.store(dweight + place, weight_sums, mask=(tap_index < width) & inside[None, :])
    if dbias is not None:
        tl.store(dbias + program * channels + column, bias_sums, mask=inside)


def _conv_blocks(time: int, channels: int, width: int) -> dict[str, int]:
    """Tiles of 16 x 128: rows of 256 bytes in bfloat16, and 16 values a thread for each of the few
    tiles that are alive at once. Narrower for wide filters, whose sums fill the registers."""
    columns = 128 if width <= 16 else 32
    return {
        "block_time": min(16, triton.next_power_of_2(time)),
        "block_channels": min(columns, triton.next_power_of_2(channels)),
        "num_warps": 4,
    }


def _wide(x: Tensor) -> Any:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _launch_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    latest: Tensor | None,
    silu: bool,
    dy: Tensor | None = None,
) -> Tensor:
    """y in x's dtype or, given dy, the gradient before the SiLU in float32 or float64."""
    batch, time, channels = x.shape
    dtype = x.dtype if dy is None else torch.promote_types(x.dtype, torch.float32)
    out = x.new_empty(x.shape, dtype=dtype)
    blocks = _conv_blocks(time, channels, weight.shape[1])
    tiles = triton.cdiv(time, blocks["block_time"])
    grid = (batch * tiles, triton.cdiv(channels, blocks["block_channels"]))
    sizes = (time, channels, x.stride(0), x.stride(1), tiles)
    if out.numel():
        _short_conv_forward[grid](
            *(x, latest, weight, bias, dy, out, *sizes),
            width=weight.shape[1],
            silu=silu,
            wide=_wide(x),
            **blocks,
        )
    return out


class _ShortConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        latest: Tensor | None,
        silu: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, latest)
        ctx.silu = silu
        return _launch_forward(x, weight, bias, latest, silu)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, latest = ctx.saved_tensors
        dz = dy.contiguous()
        if ctx.silu:
            dz = _launch_forward(x, weight, bias, latest, True, dz)
        batch, time, channels = x.shape
        width = weight.shape[1]
        wanted = latest is not None and ctx.needs_input_grad[3]
        dx = x.new_empty(x.shape)
        dlatest = torch.empty_like(latest) if wanted else None
        blocks = _conv_blocks(time, channels, width)
        tiles = triton.cdiv(time + wanted * (width - 1), blocks["block_time"])
        across = triton.cdiv(channels, blocks["block_channels"])
        # few programs where the weight is long, for each leaves sums as large as the weight
        programs = max(1, min(batch * tiles, _CONV_PROGRAMS // across // triton.cdiv(width, 8)))
        dtype = torch.promote_types(x.dtype, torch.float32)
        dweight = x.new_zeros(programs, width, channels, dtype=dtype)
        dbias = None if bias is None else x.new_zeros(programs, channels, dtype=dtype)
        sizes = (time, channels, x.stride(0), x.stride(1), batch * tiles, tiles)
        if x.numel():
            _short_conv_backward[programs, across](
                *(x, latest, weight, dz, dx, dlatest, dweight, dbias, *sizes),
                width=width,
                taps=triton.next_power_of_2(width),
                wide=_wide(x),
                **blocks,
            )
        dweight = dweight.sum(0).mT.to(weight.dtype)
        if dbias is not None and bias is not None:
            dbias = dbias.sum(0).to(bias.dtype)
        return dx, dweight, dbias, dlatest, None


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    latest: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``y_t = sum_{j < W} weight_j x_{t - W + 1 + j} + bias``, then the activation."""
    time, past = x.shape[1], weight.shape[1] - 1
    x = x if x.stride(2) == 1 else x.contiguous()
    latest = None if latest is None else latest.to(x.dtype).contiguous()
    bias = None if bias is None else bias.contiguous()
    y: Tensor = _ShortConv.apply(x, weight.contiguous(), bias, latest, activation == "silu")  # type: ignore[no-untyped-call]
    if time >= past:
        return y, x[:, time - past :].clone()  # a slice would keep all of x alive
    before = x.new_zeros(x.shape[0], past, x.shape[2]) if latest is None else latest
    return y, torch.cat((before[:, time:], x), dim=1)
