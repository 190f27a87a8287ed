"""The positive part as features of linear attention."""

from torch import Tensor, nn


class ReluFeatures(nn.Module):
    """max(x, 0) of every channel of q and k [B, H, T, K]."""

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return q.relu(), k.relu()
