"""Long convolution by the fast Fourier transform: T log T work instead of T x L.

Shapes: B batch, C channels, T time, P past inputs, L filter taps.
"""

import torch
from torch import Tensor


def long_conv(x: Tensor, taps: Tensor, past: Tensor | None = None) -> Tensor:
    """``y_t = sum_{0 <= j < L} taps_j x_{t-j}`` for each channel.

    x [B, C, T], taps [C, L], past [B, C, P] or None for zeros. Returns y [B, C, T] in x's dtype.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)  # there is no transform in bfloat16
    inputs = (x if past is None else torch.cat((past, x), dim=2)).to(dtype)
    taps = taps[:, : inputs.shape[2]].to(dtype)  # later taps would reach before the first input
    if x.shape[2] == 1:
        latest = inputs[:, :, inputs.shape[2] - taps.shape[1] :]
        return (latest * taps.flip(1)).sum(dim=2, keepdim=True).to(x.dtype)
    total = inputs.shape[2]
    # the product of two transforms wraps around; zeros in between keep the end off the beginning
    size = 1 << (total + taps.shape[1] - 2).bit_length()
    spectrum = torch.fft.rfft(inputs, n=size) * torch.fft.rfft(taps, n=size)
    y = torch.fft.irfft(spectrum, n=size)
    return y[:, :, total - x.shape[2] : total].to(x.dtype)
