"""Binary codes of queries and keys as features of linear attention (arXiv 2209.09004).

B batch, H heads, T time, K head width, A anchors, b bits
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BinaryHashFeatures(nn.Module):
    """Codes of +1 and -1 of q and k [B, H, T, K], and a constant: [B, H, T, b + 1]

    The product of two features is the product of the codes plus b + 1, that is 1 plus twice the
    number of bits that agree. Queries and keys share the hash.
    """

    def __init__(self, *, heads: int, head_dim: int, bits: int, anchors: int) -> None:
        super().__init__()
        self.constant = math.sqrt(bits + 1)
        self.anchors = nn.Parameter(
            F.normalize(torch.randn(heads, anchors, head_dim), dim=-1)
        )  # on the unit sphere, where queries and keys are
        self.weight = nn.Parameter(torch.randn(heads, bits, anchors))
        # an expected half of the bits is set: points at right angles have a similarity of 1 / e
        self.bias = nn.Parameter(-self.weight.detach().sum(-1)[:, None] / math.e)

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        return self.codes(q), self.codes(k)

    def codes(self, x: Tensor) -> Tensor:
        """Signs of weighted similarities to the anchors, and the constant."""
        x = F.normalize(x, dim=-1)
        square = x.square().sum(-1, keepdim=True) + self.anchors.square().sum(-1)[:, None]
        near = (x @ self.anchors.mT - square / 2).exp()  # [B, H, T, A], exp(-distance^2 / 2)
        soft = (near @ self.weight.mT + self.bias).clamp(-1.0, 1.0)
        hard = torch.where(soft > 0, 1.0, -1.0).to(soft.dtype)
        code = soft + (hard - soft).detach()  # the gradient takes the sign for the clamped value
        return F.pad(code, (0, 1), value=self.constant)
