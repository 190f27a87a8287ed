"""Mamba: a diagonal state space whose parameters depend on the token (arXiv 2312.00752).

B batch, T time, D width, E inner channels, N states of each channel
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.selective_scan.api import selective_scan
from nas.search_spaces.pieces.carried.module import Carried
from nas.search_spaces.pieces.short_conv.module import ShortConv

SHORTEST_STEP = 0.001
LONGEST_STEP = 0.1  # between these the step sizes start


class Mamba(nn.Module):
    """Short convolution, selective scan and gate in one block: [B, T, D] -> [B, T, D]."""

    def __init__(
        self,
        *,
        dim: int,
        channels: int,
        states: int,
        conv: int,
        conv_bias: bool,
        bias: bool,
        step: nn.Module,
        write: nn.Module,
        read: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, channels, bias=bias)
        self.conv = ShortConv(channels=channels, width=conv, bias=conv_bias)
        self.step = step
        self.write = write
        self.read = read
        rates = torch.arange(1.0, states + 1.0)  # real S4D start: the n-th state fades at rate n
        self.log_rates = nn.Parameter(rates.log()[:, None].repeat(1, channels))  # [N, E]
        self.skip = nn.Parameter(torch.ones(channels))
        self.output_gate = output_gate
        self.out = nn.Linear(channels, dim, bias=bias)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        state = Carried() if state is None else state
        u, latest = self.conv(self.enter(x), state.get("latest"))
        u = F.silu(u)  # [B, T, E]
        # in float32 at least: a decay near one decides how long the memory is
        rates = -self.log_rates.to(torch.promote_types(x.dtype, torch.float32)).exp()
        y, after = selective_scan(
            u, self.step(u), rates, self.write(u), self.read(u), state.get("matrix")
        )
        state.tensors = {"latest": latest, "matrix": after}
        state.length += x.shape[1]
        return self.out(self.output_gate(y + self.skip * u, x))


class SelectiveStep(nn.Module):
    """Step sizes that depend on the token, softplus(up(down(u))): [B, T, E] -> [B, T, E]."""

    def __init__(self, *, channels: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, rank, bias=False)
        self.up = nn.Linear(rank, channels)
        nn.init.uniform_(self.up.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.up.bias.copy_(first_steps(channels))

    def forward(self, u: Tensor) -> Tensor:
        step = self.up(self.down(u))
        return F.softplus(step.to(torch.promote_types(step.dtype, torch.float32)))


class FixedStep(nn.Module):
    """One learned step size for each channel: [B, T, E] -> [1, 1, E]."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(first_steps(channels))

    def forward(self, u: Tensor) -> Tensor:
        bias = self.bias.to(torch.promote_types(u.dtype, torch.float32))
        return F.softplus(bias)[None, None]


class SelectiveVector(nn.Module):
    """How states are written or read, a vector for each token: [B, T, E] -> [B, T, N, 1]."""

    def __init__(self, *, channels: int, states: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, states, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        return self.project(u).unsqueeze(-1)


class FixedVectors(nn.Module):
    """How states are written or read, the same for all tokens: [B, T, E] -> [1, 1, N, E]."""

    def __init__(self, *, channels: int, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 1, states, channels))

    def forward(self, u: Tensor) -> Tensor:
        return self.weight


def first_steps(count: int) -> Tensor:
    """What softplus makes step sizes of, these being even on a log scale: [count]"""
    low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
    step = torch.empty(count).uniform_(low, high).exp()
    return step + torch.log(-torch.expm1(-step))  # inverse softplus
