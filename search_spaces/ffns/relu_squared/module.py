"""Two-layer FFN with squared ReLU (arXiv 2109.08668)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class SquaredReLU(nn.Module):
    """down(relu(up(x))^2)"""

    def __init__(self, *, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.down(F.relu(self.up(x)).square())
