"""Residual that normalises what a sublayer adds (arXiv 2501.00656)."""

from typing import Any

from torch import Tensor, nn


class PostSublayer(nn.Module):
    """x + norm(inner(x))"""

    def __init__(self, *, inner: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.norm = norm

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x + self.norm(self.inner(x, state))
