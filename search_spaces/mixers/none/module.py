"""A layer without a mixer and without an FFN, which search by layer masks may come to."""

from typing import Any

from torch import Tensor, nn


class PassOn(nn.Module):
    """Returns x as it is: [B, T, D] -> [B, T, D]"""

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x
