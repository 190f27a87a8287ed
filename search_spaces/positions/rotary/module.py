"""Rotary position embedding (arXiv 2104.09864)."""

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Turns channel pairs (i, i + K/2) of x [B, H, T, K] by position x base^(-2i/K)."""

    def __init__(self, *, base: float) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, offset: int) -> Tensor:
        """`offset` is the position of the first token of x."""
        half = x.shape[-1] // 2
        channel = torch.arange(half, device=x.device, dtype=torch.float32)
        position = torch.arange(offset, offset + x.shape[-2], device=x.device, dtype=torch.float32)
        angle = torch.outer(position, self.base ** (-channel / half))  # [T, K/2]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        left, right = x.chunk(2, dim=-1)
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
