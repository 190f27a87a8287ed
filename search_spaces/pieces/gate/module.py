"""Gates on what a mixer puts out.

B batch, T time, D width of the input, W width of the output
"""

import torch.nn.functional as F
from torch import Tensor, nn


class SiluGate(nn.Module):
    """y * silu(gate(x)), for y [B, T, W] and x [B, T, D]."""

    def __init__(self, *, dim: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, width, bias=bias)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * F.silu(self.gate(x))


class Ungated(nn.Module):
    """Returns y as it is."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y
