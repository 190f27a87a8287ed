"""Post-norm residual (arXiv 1706.03762)."""

from typing import Any

from torch import Tensor, nn


class PostNorm(nn.Module):
    """norm(x + inner(x))"""

    def __init__(self, *, norm: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.inner = inner

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.norm(x + self.inner(x, state))
