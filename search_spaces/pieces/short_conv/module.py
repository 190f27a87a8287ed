"""Depthwise causal convolution: each channel over its own latest values.

B batch, T time, C channels
"""

from torch import Tensor, nn

from nas.kernels.short_conv.api import short_conv


class ShortConv(nn.Module):
    """Each channel over its last `width` values: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, channels: int, width: int, bias: bool = False) -> None:
        super().__init__()
        # holds the weight [C, 1, width] and its first values; never called
        self.conv = nn.Conv1d(channels, channels, width, groups=channels, bias=bias)

    def forward(self, x: Tensor, latest: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`latest` [B, width - 1, C] are the inputs before x (None is zeros); also returns those
        that the next call needs."""
        return short_conv(x, self.conv.weight.squeeze(1), self.conv.bias, latest)
