"""No mixing: the control of every mixer study."""

from typing import Any

from torch import Tensor, nn


class Identity(nn.Module):
    """Returns x [B, T, D]; tokens do not see each other."""

    def empty_state(self) -> None:
        """Nothing is carried."""
        return None

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x
