"""Gated FFN with GELU (arXiv 2002.05202)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class GEGLU(nn.Module):
    """down(gelu(gate(x)) * up(x))"""

    def __init__(self, *, dim: int, hidden: int, bias: bool, approximate: str) -> None:
        super().__init__()
        self.approximate = approximate
        self.gate = nn.Linear(dim, hidden, bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.down(F.gelu(self.gate(x), approximate=self.approximate) * self.up(x))
