"""Two-layer FFN with GELU (arXiv 1606.08415)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class GELU(nn.Module):
    """down(gelu(up(x)))"""

    def __init__(self, *, dim: int, hidden: int, bias: bool, approximate: str) -> None:
        super().__init__()
        self.approximate = approximate
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate=self.approximate))
