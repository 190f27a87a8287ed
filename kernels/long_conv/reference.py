"""Long convolution by its definition: one tap after another.

Shapes: B batch, C channels, T time, P past inputs, L filter taps.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def long_conv(x: Tensor, taps: Tensor, past: Tensor | None = None) -> Tensor:
    """``y_t = sum_{0 <= j < L} taps_j x_{t-j}``; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    inputs = (x if past is None else torch.cat((past, x), dim=2)).to(dtype)
    total, length = inputs.shape[2], taps.shape[1]
    inputs = pad(inputs, (length - 1, 0))
    y = torch.zeros_like(inputs[:, :, length - 1 :])
    for j, tap in enumerate(taps.to(dtype).unbind(1)):
        start = length - 1 - j
        y = y + tap[:, None] * inputs[:, :, start : start + total]
    return y[:, :, total - x.shape[2] :].to(x.dtype)
