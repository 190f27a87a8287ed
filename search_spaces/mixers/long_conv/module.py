"""Convolution with filters as long as the sequence (arXiv 2302.10866).

B batch, T time, D width, L longest input, M waves
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nas.kernels.long_conv.api import long_conv
from nas.search_spaces.pieces.carried.module import Carried


class StoredFilter(nn.Module):
    """One number for each channel and distance."""

    def __init__(self, *, channels: int, max_tokens: int) -> None:
        super().__init__()
        # the squares over all distances add up slowly, so that near tokens start out stronger
        size = torch.arange(1, max_tokens + 1).rsqrt()
        self.weight = nn.Parameter(torch.randn(channels, max_tokens) * size)

    def first(self, time: int) -> Tensor:
        """For the distances below `time`: [channels, T]"""
        return self.weight[:, :time]


class WrittenFilter(nn.Module):
    """Sine waves through a linear layer, under a window that fades at a rate of each channel.

    exp(-rate t) Σ_m weight_m sin(frequency_m t + phase_m) for distance t
    """

    def __init__(self, *, channels: int, max_tokens: int, waves: int) -> None:
        super().__init__()
        slowest, fastest = 1 / max_tokens, 0.5
        rate = torch.logspace(math.log10(slowest), math.log10(fastest), channels)
        self.log_rate = nn.Parameter(rate.log())
        frequency = torch.logspace(math.log10(slowest), math.log10(math.pi / 2), waves)
        self.frequency = nn.Parameter(frequency)
        self.phase = nn.Parameter(2 * math.pi * torch.rand(waves))
        # the filter's energy, about waves / (4 rate) times the weights', starts at one
        self.weight = nn.Parameter(
            torch.randn(channels, waves) * (4 * rate / waves).sqrt()[:, None]
        )

    def first(self, time: int) -> Tensor:
        """For the distances below `time`: [channels, T]"""
        t = torch.arange(time, device=self.weight.device, dtype=self.weight.dtype)
        waves = torch.sin(self.frequency[:, None] * t + self.phase[:, None])  # [M, T]
        taps = torch.zeros_like(self.weight[:, :1] * t)
        for weight, wave in zip(self.weight.unbind(1), waves.unbind(0), strict=True):
            taps = torch.addcmul(taps, weight[:, None], wave)
        return taps * torch.exp(-self.log_rate.exp()[:, None] * t)


class LongConvState(Carried):
    """The inputs so far, and the filter, which all sequences share and no token changes."""

    def __init__(self) -> None:
        super().__init__()
        self.taps: Tensor | None = None  # [D, L]


class LongConv(nn.Module):
    """Each channel over its values at all earlier tokens: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, max_tokens: int, taps: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.value = nn.Linear(dim, dim, bias=False)
        self.taps: Any = taps
        self.gate = gate
        self.out = nn.Linear(dim, dim, bias=False)

    def empty_state(self) -> LongConvState:
        """What decoding carries from token to token."""
        return LongConvState()

    def forward(self, x: Tensor, state: LongConvState | None = None) -> Tensor:
        past, taps = None, None
        if state is not None:
            past, taps = state.get("values"), state.taps
        value = self.value(x).mT  # [B, D, T]
        total = x.shape[1] + (0 if past is None else past.shape[2])
        check_length(total, self.max_tokens)
        if taps is None:
            taps = self.taps.first(total if state is None else self.max_tokens)
        y = long_conv(value, taps, past).mT
        if state is not None:
            state.taps = taps
            state.tensors["values"] = value if past is None else torch.cat((past, value), dim=2)
        return self.out(self.gate(y, x))


class TwoSidedLongConv(nn.Module):
    """Each channel over its values at all tokens, with a filter for each side.

    [B, T, D] -> [B, T, D]
    """

    def __init__(
        self, *, dim: int, max_tokens: int, before: nn.Module, after: nn.Module, gate: nn.Module
    ) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.value = nn.Linear(dim, dim, bias=False)
        self.before: Any = before
        self.after: Any = after
        self.gate = gate
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        time = x.shape[1]
        check_length(time, self.max_tokens)
        value = self.value(x).mT  # [B, D, T]
        y = long_conv(value, self.before.first(time))
        y = y + long_conv(value.flip(2), self.after.first(time)).flip(2)
        return self.out(self.gate(y.mT, x))


def check_length(tokens: int, most: int) -> None:
    """Raises ValueError for more tokens than there are weights."""
    if tokens > most:
        raise ValueError(f"{tokens} tokens, but this layer has weights for {most}")
