"""A mixer run in both directions.

B batch, T time, D width
"""

from torch import Tensor, nn


class Bidirectional(nn.Module):
    """ahead(x), and back(x reversed in time) reversed again, added: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, ahead: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.ahead = ahead
        self.back = back

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        return self.ahead(x) + self.back(x.flip(1)).flip(1)


class BothWaysShared(nn.Module):
    """The same mixer in both directions: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        return self.mixer(x) + self.mixer(x.flip(1)).flip(1)
