"""Fourier mixing (arXiv 2105.03824)."""

import torch
from torch import Tensor, nn


class FourierMixing(nn.Module):
    """The real part of the Fourier transform over sequence and width: [B, T, D] -> [B, T, D]"""

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)  # there is no transform in bfloat16
        # "ortho" keeps the size of the values, whatever T and D
        return torch.fft.fft2(x.to(exact), dim=(1, 2), norm="ortho").real.to(x.dtype)
