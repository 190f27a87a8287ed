"""Mixer, then FFN."""

from typing import Any

from torch import Tensor, nn


class SequentialBlock(nn.Module):
    """ffn(mixer(x)); each of the two brings its own residual. The state belongs to the mixer."""

    def __init__(self, *, mixer: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.ffn = ffn

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.ffn(self.mixer(x, state))
