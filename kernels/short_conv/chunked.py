"""A short causal convolution as a sum of shifted products, a stretch of time after another.

Shapes: B batch, T time, C channels, W width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT_CONV_VALUES = 2**17  # results at a time, so that a sum over taps stays in a CPU's cache


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    latest: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``y_t = sum_{j < W} weight_j x_{t - W + 1 + j} + bias``, then SiLU if activation is "silu".

    x [B, T, C]; weight [C, W]; bias [C]; latest [B, W - 1, C] are the inputs before x, None is
    zeros. Returns y [B, T, C] in x's dtype and the latest inputs for the next call.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    time, past = x.shape[1], weight.shape[1] - 1
    before = F.pad(x, (0, 0, past, 0)) if latest is None else torch.cat((latest.to(x.dtype), x), 1)
    taps, inputs = weight.to(dtype).mT.contiguous(), before.to(dtype)  # [W, C], [B, W - 1 + T, C]
    if time == 1:
        y = (inputs * taps).sum(dim=1, keepdim=True)
    else:
        run: Any = _ShiftedProducts.apply
        y = run(inputs, taps)
    y = y if bias is None else y + bias.to(dtype)
    y = F.silu(y) if activation == "silu" else y
    return y.to(x.dtype), before[:, time:].clone()  # a slice would keep all of x alive


def _shifted_products(x: Tensor, taps: Tensor) -> Tensor:
    """[B, T + W - 1, C] and [W, C] to [B, T, C]: ``y_t = sum_j taps_j x_{t + j}``."""
    time = x.shape[1] - taps.shape[0] + 1
    y = x.new_empty(x.shape[0], time, x.shape[2])
    for part in _short_stretches(y):
        stretch = y[:, part]
        for j, tap in enumerate(taps.unbind(0)):
            shifted = x[:, part.start + j : part.stop + j]
            if j == 0:
                torch.mul(shifted, tap, out=stretch)
            else:
                stretch.addcmul_(shifted, tap)
    return y


def _short_stretches(y: Tensor) -> list[slice]:
    batch, time, channels = y.shape
    length = SHORT_CONV_VALUES // (batch * channels) if y.device.type == "cpu" else time
    length = max(1, min(length, time))
    return [slice(start, min(start + length, time)) for start in range(0, time, length)]


class _ShiftedProducts(torch.autograd.Function):
    """`_shifted_products` with a gradient that makes no copy of the inputs for each tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        return _shifted_products(x, taps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, taps = ctx.saved_tensors
        width, dx, dtaps = taps.shape[0], None, None
        if ctx.needs_input_grad[0]:
            dx = _shifted_products(F.pad(dy, (0, 0, width - 1, width - 1)), taps.flip(0))
        if ctx.needs_input_grad[1]:
            dtaps = torch.zeros_like(taps)
            for part in _short_stretches(dy):
                pieces = (x[:, part.start + j : part.stop + j] for j in range(width))
                dtaps += torch.stack([(piece * dy[:, part]).sum((0, 1)) for piece in pieces])
        return dx, dtaps
