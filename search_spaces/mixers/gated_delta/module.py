"""Gated DeltaNet (arXiv 2412.06464) and DeltaNet (arXiv 2406.06484).

B batch, T time, D width, H heads, K key width, V value width, C channels of q, k, v together
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried

SLOWEST_STEP = 0.001
FASTEST_STEP = 0.1  # between these the steps of the decay start, as in Mamba-2 (arXiv 2405.21060)


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
        conv: nn.Module,
        feature: nn.Module,
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
        self.feature = feature
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
        q, k, v = qkv.split(self.widths, dim=-1)
        q, k = unit_heads(self.feature(q), self.key_dim), unit_heads(self.feature(k), self.key_dim)
        v = split_heads(F.silu(v), self.value_dim)  # [B, H, T, V]
        beta = self.largest_beta * self.beta(x).sigmoid().mT  # [B, H, T]
        q = q * self.key_dim**-0.5
        o, matrix = gated_delta_rule(q, k, v, self.decay(x), beta, state.get("matrix"))
        state.tensors = {"matrix": matrix, "latest": latest}
        state.length += x.shape[1]
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))


def unit_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, T, H * K] -> [B, H, T, K] of length one; unit keys keep the correction a contraction."""
    return F.normalize(split_heads(x, head_dim), dim=-1)


class NoConv(nn.Module):
    """In the place of a short convolution: returns x as it is, and carries nothing."""

    def forward(self, x: Tensor, latest: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x, x[:, :0]


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
