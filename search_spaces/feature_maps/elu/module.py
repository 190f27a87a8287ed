"""elu(x) + 1 as features of linear attention (arXiv 2006.16236)."""

import torch.nn.functional as F
from torch import Tensor, nn


class EluFeatures(nn.Module):
    """elu(x) + 1 of every channel of q and k [B, H, T, K]; always above zero."""

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return F.elu(q) + 1, F.elu(k) + 1
