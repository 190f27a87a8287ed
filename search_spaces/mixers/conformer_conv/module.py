"""The convolution module of Conformer (arXiv 2005.08100).

B batch, T time, D width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried


class ConformerConv(nn.Module):
    """Gated projection, depthwise convolution, norm, SiLU, projection: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, conv: nn.Module) -> None:
        super().__init__()
        self.widen = nn.Linear(dim, 2 * dim)
        self.conv = conv
        self.norm = RMSNorm(dim=dim)
        self.out = nn.Linear(dim, dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        gated = F.glu(self.widen(x), dim=-1)
        return self.out(F.silu(self.norm(self.conv(gated, state))))
