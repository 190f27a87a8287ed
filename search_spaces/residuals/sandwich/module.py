"""Sandwich (peri) norm residual (arXiv 2502.02732)."""

from typing import Any

from torch import Tensor, nn


class Sandwich(nn.Module):
    """x + after(inner(before(x)))"""

    def __init__(self, *, before: nn.Module, inner: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.inner = inner
        self.after = after

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x + self.after(self.inner(self.before(x), state))
