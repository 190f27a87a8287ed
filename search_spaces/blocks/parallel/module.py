"""Mixer and FFN side by side (arXiv 2204.02311)."""

from typing import Any

from torch import Tensor, nn


class SideBySide(nn.Module):
    """mixer(x) + ffn(x). The state belongs to the mixer."""

    def __init__(self, *, mixer: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.ffn = ffn

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.mixer(x, state) + self.ffn(x)
