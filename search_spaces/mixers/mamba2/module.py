"""Mamba-2: a state space with one decay per head (arXiv 2405.21060).

B batch, T time, D width, H heads, P head width, G groups, N states
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.pieces.carried.module import Carried
from nas.search_spaces.pieces.short_conv.module import ShortConv


class Mamba2(nn.Module):
    """Short convolution, state space duality and gated norm in one block: [B, T, D] -> same."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        states: int,
        groups: int,
        conv: int,
        conv_bias: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.states = states
        self.repeats = heads // groups  # heads that share a group
        channels = heads * head_dim
        self.widths = (channels, groups * states, groups * states)
        self.enter = nn.Linear(dim, sum(self.widths), bias=bias)
        self.conv = ShortConv(channels=sum(self.widths), width=conv, bias=conv_bias)
        self.decay = StepAndDecay(dim=dim, heads=heads, bias=bias)
        self.skip = nn.Parameter(torch.ones(heads))
        self.gate = nn.Linear(dim, channels, bias=bias)
        self.norm = GatedGroupRMSNorm(dim=channels, groups=groups)
        self.out = nn.Linear(channels, dim, bias=bias)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        state = Carried() if state is None else state
        entered, latest = self.conv(self.enter(x), state.get("latest"))
        v, write, read = F.silu(entered).split(self.widths, dim=-1)
        v = split_heads(v, self.head_dim)  # [B, H, T, P]
        k, q = self.to_heads(write), self.to_heads(read)  # [B, H, T, N]
        step, log_decay = self.decay(x)  # [B, H, T, 1]
        o, after = linear_attention(q, k, v * step, log_decay, state.get("matrix"))
        state.tensors = {"latest": latest, "matrix": after}
        state.length += x.shape[1]
        o = o.to(x.dtype) + self.skip[:, None, None] * v
        return self.out(self.norm(o.transpose(1, 2).flatten(2), self.gate(x)))

    def to_heads(self, x: Tensor) -> Tensor:
        """[B, T, G * N] -> [B, H, T, N], each group for as many heads in a row."""
        return split_heads(x, self.states).repeat_interleave(self.repeats, dim=1)


class StepAndDecay(nn.Module):
    """Step sizes and the logarithm of the decay that follows from them: [B, T, D] -> 2 [B, H, T, 1]

    softplus(rate(x) + bias), and that times -exp(a_log).
    """

    def __init__(self, *, dim: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.rate = nn.Linear(dim, heads, bias=bias)
        self.a_log = nn.Parameter(torch.empty(heads).uniform_(1.0, 16.0).log())
        low, high = math.log(0.001), math.log(0.1)  # step sizes start even on a log scale
        step = torch.empty(heads).uniform_(low, high).exp()
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # inverse softplus

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # in float32 at least: a factor near one decides how long the memory is
        dtype = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(self.rate(x).to(dtype) + self.step_bias.to(dtype)).mT.unsqueeze(-1)
        return step, -self.a_log.to(dtype).exp()[:, None, None] * step


class GatedGroupRMSNorm(nn.Module):
    """rms(y * silu(z)) * weight, over each group of channels: [B, T, W] -> [B, T, W]"""

    def __init__(self, *, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        grouped = (y * F.silu(z)).unflatten(-1, (self.groups, -1))
        return F.rms_norm(grouped, grouped.shape[-1:], eps=1e-5).flatten(-2) * self.weight
