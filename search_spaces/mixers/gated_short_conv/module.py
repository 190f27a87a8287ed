"""Gated short convolution: two gates around a convolution over a few tokens.

B batch, T time, D width, E inner channels
"""

from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried
from nas.search_spaces.pieces.short_conv.module import ShortConv


class GatedShortConv(nn.Module):
    """out(after * conv(before * value)), all three projections of x: [B, T, D] -> [B, T, D]."""

    def __init__(self, *, dim: int, channels: int, conv: int, conv_bias: bool, bias: bool) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, 3 * channels, bias=bias)
        self.conv = ShortConv(channels=channels, width=conv, bias=conv_bias)
        self.out = nn.Linear(channels, dim, bias=bias)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        before, after, value = self.enter(x).chunk(3, dim=-1)  # [B, T, E]
        latest = None if state is None else state.get("latest")
        mixed, latest = self.conv(before * value, latest)
        if state is not None:
            state.tensors["latest"] = latest
            state.length += x.shape[1]
        return self.out(after * mixed)
