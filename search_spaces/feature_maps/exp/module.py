"""The exponential as features of linear attention (arXiv 2402.04347)."""

from torch import Tensor, nn


class ExpFeatures(nn.Module):
    """exp(temperature x) of every channel of q and k [B, H, T, K]."""

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return (self.temperature * q).exp(), (self.temperature * k).exp()
