"""Recursive gated convolution (arXiv 2207.14284).

B batch, T time, D width
"""

from itertools import pairwise

from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried


class GatedConv(nn.Module):
    """Products of ever wider groups of convolved channels: [B, T, D] -> [B, T, D]

    `widths` are the channels of the groups, the last of them D. One convolution serves all groups.
    """

    def __init__(self, *, dim: int, widths: tuple[int, ...], conv: nn.Module) -> None:
        super().__init__()
        self.widths = widths
        self.project = nn.Linear(dim, widths[0] + sum(widths))
        self.conv = conv
        self.widen = nn.ModuleList(nn.Linear(narrow, wide) for narrow, wide in pairwise(widths))
        self.out = nn.Linear(dim, dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        groups = sum(self.widths)
        product, inputs = self.project(x).split((self.widths[0], groups), dim=-1)
        first, *gates = self.conv(inputs, state).split(self.widths, dim=-1)
        product = product * first
        for widen, gate in zip(self.widen, gates, strict=True):
            product = widen(product) * gate
        return self.out(product)
