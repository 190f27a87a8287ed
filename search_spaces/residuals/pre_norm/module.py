"""Pre-norm residual (arXiv 2002.04745)."""

from typing import Any

from torch import Tensor, nn


class PreNorm(nn.Module):
    """x + inner(norm(x))"""

    def __init__(self, *, norm: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.inner = inner

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x + self.inner(self.norm(x), state)
