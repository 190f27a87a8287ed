"""Gated DeltaNet (arXiv 2412.06464) and DeltaNet (arXiv 2406.06484).

B batch, T time, D width, H heads, K key width, V value width, C channels of q, k and v together
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm

SLOWEST_STEP = 0.001
FASTEST_STEP = 0.1  # between these the steps of the decay start, as in Mamba-2 (arXiv 2405.21060)


class DeltaState:
    """The matrix of the recurrence and the latest inputs of the convolution."""

    def __init__(self) -> None:
        self.matrix: Tensor | None = None  # [B, H, K, V]
        self.latest: Tensor | None = None  # [B, conv - 1, C]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return sum(x[0].numel() for x in (self.matrix, self.latest) if x is not None)


class GatedDelta(nn.Module):
    """A matrix that maps keys to values; each token moves what it holds at k towards v.

    [B, T, D] -> [B, T, D]
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        conv: int,
        decay: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.widths = (heads * key_dim, heads * key_dim, heads * value_dim)
        channels = sum(self.widths)
        self.qkv = nn.Linear(dim, channels, bias=False)
        self.conv = nn.Conv1d(channels, channels, conv, groups=channels, bias=False)
        self.beta = nn.Linear(dim, heads, bias=False)
        self.decay = decay
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head
        self.output_gate = output_gate
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> DeltaState:
        """What decoding carries from token to token."""
        return DeltaState()

    def forward(self, x: Tensor, state: DeltaState | None = None) -> Tensor:
        qkv = self.convolve(self.qkv(x), state)  # [B, T, C]
        q, k, v = qkv.split(self.widths, dim=-1)
        # unit keys keep the correction a contraction
        q = F.normalize(split_heads(q, self.key_dim), dim=-1) * self.key_dim**-0.5  # [B, H, T, K]
        k = F.normalize(split_heads(k, self.key_dim), dim=-1)
        v = split_heads(v, self.value_dim)  # [B, H, T, V]
        beta = self.beta(x).sigmoid().mT  # [B, H, T]
        before = None if state is None else state.matrix
        o, after = gated_delta_rule(q, k, v, self.decay(x), beta, before)
        if state is not None:
            state.matrix = after
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))

    def convolve(self, x: Tensor, state: DeltaState | None) -> Tensor:
        """Each channel over its own latest values, then SiLU: [B, T, C] -> [B, T, C]"""
        past = self.conv.kernel_size[0] - 1
        if state is None or state.latest is None:
            x = F.pad(x, (0, 0, past, 0))
        else:
            x = torch.cat((state.latest, x), dim=1)
        if state is not None:
            state.latest = x[:, -past:].clone()  # a slice would keep all of x alive
        return F.silu(self.conv(x.mT)).mT


class LearnedDecay(nn.Module):
    """Logarithm of the factor by which the state fades, -exp(a_log) softplus(rate(x) + bias).

    [B, T, D] -> [B, H, T]
    """

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.rate = nn.Linear(dim, heads, bias=False)
        self.a_log = nn.Parameter(torch.empty(heads).uniform_(1.0, 16.0).log())
        step = torch.empty(heads).uniform_(math.log(SLOWEST_STEP), math.log(FASTEST_STEP)).exp()
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # inverse softplus

    def forward(self, x: Tensor) -> Tensor:
        # in float32 at least: a factor near one decides how long the memory is
        dtype = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(self.rate(x).to(dtype) + self.step_bias.to(dtype))  # [B, T, H]
        return -(self.a_log.to(dtype).exp() * step).mT


class NoDecay(nn.Module):
    """The state does not fade: a logarithm of zero, [1, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(1, 1, 1)


class SwishGate(nn.Module):
    """y * silu(gate(x)), for y [B, T, W] and x [B, T, D]."""

    def __init__(self, *, dim: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, width, bias=False)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * F.silu(self.gate(x))


class NoGate(nn.Module):
    """Returns y as it is."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y
