"""Hierarchically gated recurrent network (arXiv 2311.04823).

B batch, T time, D width, E channels
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.diagonal_scan.api import diagonal_scan
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried


class HGRN(nn.Module):
    """A gated recurrence on each channel, with no nonlinearity in it: [B, T, D] -> [B, T, D]."""

    def __init__(
        self, *, dim: int, channels: int, forget: nn.Module, output_gate: nn.Module
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, channels, bias=False)
        self.forget = forget
        self.norm = RMSNorm(dim=channels)
        self.output_gate = output_gate
        self.out = nn.Linear(channels, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        forget = self.forget(x)  # [B, T, E], in float32 at least
        added = (1.0 - forget) * F.silu(self.enter(x))
        before = None if state is None else state.get("hidden")
        h, after = diagonal_scan(added, forget, before)
        if state is not None:
            state.tensors["hidden"] = after
            state.length += x.shape[1]
        return self.out(self.output_gate(self.norm(h.to(x.dtype)), x))


class ForgetGate(nn.Module):
    """lowest + (1 - lowest) sigmoid(gate(x)): [B, T, D] -> [B, T, E]."""

    def __init__(self, *, dim: int, channels: int, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest
        self.gate = nn.Linear(dim, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # in float32 at least: a gate near one decides how long the memory is
        share = self.gate(x).to(torch.promote_types(x.dtype, torch.float32)).sigmoid()
        return self.lowest + (1.0 - self.lowest) * share


class LearnedForgetGate(nn.Module):
    """The same with a learned lowest value for each channel, never below `floor`."""

    def __init__(self, *, dim: int, channels: int, lowest: float, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.gate = nn.Linear(dim, channels, bias=False)
        self.bound = nn.Parameter(torch.full((channels,), math.log(lowest / (1.0 - lowest))))

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        lowest = self.floor + (1.0 - self.floor) * self.bound.to(dtype).sigmoid()
        return lowest + (1.0 - lowest) * self.gate(x).to(dtype).sigmoid()
