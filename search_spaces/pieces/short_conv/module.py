"""Depthwise causal convolution: each channel over its own latest values.

B batch, T time, C channels
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShortConv(nn.Module):
    """Each channel over its last `width` values: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, channels: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, width, groups=channels, bias=bias)

    def forward(self, x: Tensor, latest: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`latest` [B, width - 1, C] are the inputs before x (None is zeros); also returns those
        that the next call needs."""
        past = self.conv.kernel_size[0] - 1
        x = F.pad(x, (0, 0, past, 0)) if latest is None else torch.cat((latest, x), dim=1)
        # a slice would keep all of x alive
        return self.conv(x.mT).mT, x[:, x.shape[1] - past :].clone()
