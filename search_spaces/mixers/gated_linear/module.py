"""Gated linear attention (arXiv 2312.06635).

B batch, T time, D width, H heads, K key width, V value width, C channels of q, k and v together
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.short_conv.module import ShortConv


class RecurrentState:
    """The matrix that a recurrence carries from token to token, and what a convolution keeps."""

    def __init__(self) -> None:
        self.length = 0  # tokens seen
        self.matrix: Tensor | None = None  # [B, H, K, V]
        self.latest: Tensor | None = None  # [B, conv - 1, C]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return sum(x[0].numel() for x in (self.matrix, self.latest) if x is not None)


class GatedLinear(nn.Module):
    """Linear attention whose state fades by gates that depend on the token: [B, T, D] -> same."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        local: nn.Module,
        fade: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.widths = (heads * key_dim, heads * key_dim, heads * value_dim)
        self.qkv = nn.Linear(dim, sum(self.widths), bias=False)
        self.local = local
        self.fade = fade
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head
        self.output_gate = output_gate
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> RecurrentState:
        """What decoding carries from token to token."""
        return RecurrentState()

    def forward(self, x: Tensor, state: RecurrentState | None = None) -> Tensor:
        q, k, v = self.local(self.qkv(x), state).split(self.widths, dim=-1)
        q = split_heads(q, self.key_dim) * self.key_dim**-0.5  # [B, H, T, K]
        k = split_heads(k, self.key_dim)
        v = split_heads(v, self.value_dim)  # [B, H, T, V]
        before = None if state is None else state.matrix
        o, after = linear_attention(q, k, v, self.fade(x), before)  # [B, H, T, V]
        if state is not None:
            state.matrix = after
            state.length += x.shape[1]
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))


class ChannelFade(nn.Module):
    """Logarithm of a gate for each key channel: [B, T, D] -> [B, H, T, K]."""

    def __init__(
        self, *, dim: int, heads: int, key_dim: int, rank: int, temperature: float
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.temperature = temperature
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, heads * key_dim)

    def forward(self, x: Tensor) -> Tensor:
        gate = split_heads(self.up(self.down(x)), self.key_dim)
        # the temperature keeps gates near one, so that the memory starts out long
        return F.logsigmoid(gate) / self.temperature


class HeadFade(nn.Module):
    """Logarithm of one gate for each head: [B, T, D] -> [B, H, T, 1]."""

    def __init__(self, *, dim: int, heads: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.gate = nn.Linear(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(self.gate(x)).mT.unsqueeze(-1) / self.temperature


class NoFade(nn.Module):
    """The state does not fade: a logarithm of zero, [1, 1, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(1, 1, 1, 1)


class LocalMix(nn.Module):
    """Each channel over its own latest values, then SiLU: [B, T, C] -> [B, T, C]."""

    def __init__(self, *, channels: int, width: int) -> None:
        super().__init__()
        self.conv = ShortConv(channels=channels, width=width)

    def forward(self, x: Tensor, state: RecurrentState | None) -> Tensor:
        y, latest = self.conv(x, None if state is None else state.latest)
        if state is not None:
            state.latest = latest
        return F.silu(y)


class NoLocalMix(nn.Module):
    """Returns x as it is."""

    def forward(self, x: Tensor, state: RecurrentState | None) -> Tensor:
        return x
