"""Gated FFN with SiLU (arXiv 2002.05202)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))"""

    def __init__(self, *, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))
