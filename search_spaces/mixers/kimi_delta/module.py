"""Kimi Delta Attention (arXiv 2510.26692): the delta rule with a decay for each key channel.

B batch, T time, D width, H heads, K key width, V value width, C channels of q, k, v together
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.mixers.gated_delta.module import FASTEST_STEP, SLOWEST_STEP, unit_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried

STRONGEST_DECAY = -10.0  # forgets all but 5e-5 in a step; what the recurrence in chunks can bear


class KimiDelta(nn.Module):
    """A matrix that maps keys to values, whose key channels fade each at a pace of its own.

    [B, T, D] -> [B, T, D]
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        conv: nn.Module,
        largest_beta: float,
        decay: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.largest_beta = largest_beta
        self.widths = (heads * key_dim, heads * key_dim, heads * value_dim)
        self.qkv = nn.Linear(dim, sum(self.widths), bias=False)
        self.conv = conv
        self.beta = nn.Linear(dim, heads, bias=False)
        self.decay = decay
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head
        self.output_gate = output_gate
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """The matrix [B, H, K, V] and the latest inputs of the convolution [B, conv - 1, C]."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        state = Carried() if state is None else state
        qkv, latest = self.conv(self.qkv(x), state.get("latest"))  # [B, T, C]
        q, k, v = F.silu(qkv).split(self.widths, dim=-1)
        q = unit_heads(q, self.key_dim) * self.key_dim**-0.5  # [B, H, T, K]
        k = unit_heads(k, self.key_dim)
        v = split_heads(v, self.value_dim)  # [B, H, T, V]
        beta = self.largest_beta * self.beta(x).sigmoid().mT  # [B, H, T]
        o, matrix = channel_delta_rule(q, k, v, self.decay(x), beta, state.get("matrix"))
        state.tensors = {"matrix": matrix, "latest": latest}
        state.length += x.shape[1]
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))


class ChannelDecay(nn.Module):
    """Logarithm of the factors by which key channels fade, -exp(a_log) softplus(rate(x) + bias).

    [B, T, D] -> [B, H, T, K]
    """

    def __init__(self, *, dim: int, heads: int, key_dim: int, rank: int) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, heads * key_dim, bias=False)
        self.a_log = nn.Parameter(torch.empty(heads, 1, 1).uniform_(1.0, 16.0).log())
        low, high = math.log(SLOWEST_STEP), math.log(FASTEST_STEP)
        step = torch.empty(heads * key_dim).uniform_(low, high).exp()
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # inverse softplus

    def forward(self, x: Tensor) -> Tensor:
        # in float32 at least: a factor near one decides how long the memory is
        dtype = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(self.up(self.down(x)).to(dtype) + self.step_bias.to(dtype))
        fade = -self.a_log.to(dtype).exp() * split_heads(step, self.key_dim)  # [B, H, T, K]
        return fade.clamp_min(STRONGEST_DECAY)


class LowRankGate(nn.Module):
    """y * activation(up(down(x))), for y [B, T, W] and x [B, T, D]."""

    def __init__(self, *, dim: int, rank: int, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, width)
        self.activation = activation

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * self.activation(self.up(self.down(x)))
