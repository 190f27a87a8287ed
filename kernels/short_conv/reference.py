"""A short causal convolution by its definition: one step of time after another.

Shapes: B batch, T time, C channels, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    latest: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``y_t = sum_{j < W} weight_j x_{t - W + 1 + j} + bias``, then the activation; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    batch, _, channels = x.shape
    width = weight.shape[1]
    taps = weight.to(dtype).mT  # [W, C]
    if latest is None:
        latest = x.new_zeros(batch, width - 1, channels)
    window = latest.to(dtype)
    outputs = []
    for x_t in x.to(dtype).unbind(1):
        window = torch.cat((window, x_t[:, None]), dim=1)  # [B, W, C]
        y_t = (window * taps).sum(dim=1)
        y_t = y_t if bias is None else y_t + bias.to(dtype)
        outputs.append(F.silu(y_t) if activation == "silu" else y_t)
        window = window[:, 1:]
    return torch.stack(outputs, dim=1).to(x.dtype), window.to(x.dtype)
