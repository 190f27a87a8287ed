"""Half an FFN before the mixer and half an FFN after it (arXiv 1906.02762)."""

from typing import Any

from torch import Tensor, nn


class Macaron(nn.Module):
    """norm(sublayers one after the other): [B, T, D] -> [B, T, D]. The state is the mixer's."""

    def __init__(self, *, sublayers: tuple[nn.Module, ...], norm: nn.Module) -> None:
        super().__init__()
        self.sublayers = nn.ModuleList(sublayers)
        self.norm = norm

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        for sublayer in self.sublayers:
            x = sublayer(x, state)
        return self.norm(x)


class Share(nn.Module):
    """x + share * inner(norm(x))"""

    def __init__(self, *, norm: nn.Module, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.norm = norm
        self.inner = inner
        self.share = share

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x + self.share * self.inner(self.norm(x), state)
