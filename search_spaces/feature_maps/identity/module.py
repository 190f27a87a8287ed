"""No features: linear attention on queries and keys themselves."""

from torch import Tensor, nn


class PlainFeatures(nn.Module):
    """Returns q and k [B, H, T, K] as they are."""

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return q, k
