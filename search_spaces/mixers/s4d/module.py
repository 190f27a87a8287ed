"""Diagonal state space with fixed dynamics (arXiv 2206.11893).

B batch, T time, D channels, N modes of each channel
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ModeState:
    """What each mode of each channel holds."""

    def __init__(self) -> None:
        self.modes: Tensor | None = None  # [B, D, N], complex where the modes are

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        if self.modes is None:
            return 0
        return self.modes[0].numel() * (2 if self.modes.is_complex() else 1)


class S4D(nn.Module):
    """Every channel through a linear filter of its own, then a mix of channels: [B, T, D] -> same.

    A whole sequence is convolved by FFT; one that continues a state also carries that on, and a
    single token takes a step of the recurrence.
    """

    def __init__(self, *, dim: int, modes: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.modes = modes
        self.skip = nn.Parameter(torch.ones(dim))
        self.mix = mix

    def empty_state(self) -> ModeState:
        """What decoding carries from token to token."""
        return ModeState()

    def forward(self, x: Tensor, state: ModeState | None = None) -> Tensor:
        # FFT and powers of decays near one need float32 at least
        u = x.to(torch.promote_types(x.dtype, torch.float32)).mT  # [B, D, T]
        rate, gain = self.modes(u.dtype)  # [D, N]
        if x.shape[1] == 1 and state is not None:
            y = step_modes(u, rate, gain, state)
        else:
            y = filter_with_modes(u, rate, gain, state)
        y = y.mT.to(x.dtype) + self.skip * x
        return self.mix(F.gelu(y))


def step_modes(u: Tensor, rate: Tensor, gain: Tensor, state: ModeState) -> Tensor:
    """One step of the recurrence: u [B, D, 1] -> [B, D, 1]"""
    held = 0.0 if state.modes is None else state.modes * rate.exp()
    state.modes = held + u.to(rate.dtype).expand(*u.shape[:2], rate.shape[1])
    return (state.modes * gain).real.sum(dim=-1, keepdim=True)


def filter_with_modes(u: Tensor, rate: Tensor, gain: Tensor, state: ModeState | None) -> Tensor:
    """The same for all times at once: u [B, D, T] -> [B, D, T]"""
    time = u.shape[-1]
    passed = torch.arange(time, device=u.device, dtype=u.dtype)
    powers = (rate[..., None] * passed).exp()  # [D, N, T], the decay over 0..T-1 steps
    kernel = (gain[..., None] * powers).real.sum(dim=1)  # [D, T]
    spectrum = torch.fft.rfft(u, 2 * time) * torch.fft.rfft(kernel, 2 * time)
    y = torch.fft.irfft(spectrum, 2 * time)[..., :time]
    if state is not None:
        added = torch.einsum("bdt,dnt->bdn", u.to(rate.dtype), powers.flip(-1))
        if state.modes is not None:
            held = state.modes * rate.exp()  # one step on
            y = y + torch.einsum("bdn,dnt->bdt", held * gain, powers).real
            added = added + held * powers[..., -1]
        state.modes = added
    return y


class ComplexModes(nn.Module):
    """Modes that turn as they fade: (step x rate, gain), complex [D, N] each.

    Each stands for itself and its conjugate.
    """

    def __init__(self, *, dim: int, modes: int, start: str) -> None:
        super().__init__()
        self.log_step = nn.Parameter(first_log_steps(dim))
        self.log_decay = nn.Parameter(torch.full((dim, modes), math.log(0.5)))
        self.turn = nn.Parameter(first_turns(modes, start).repeat(dim, 1))
        self.read = nn.Parameter(torch.randn(dim, modes, 2) * 0.5**0.5)  # real, imaginary part

    def forward(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        step = self.log_step.to(dtype).exp()[:, None]  # [D, 1]
        rate = torch.complex(-self.log_decay.to(dtype).exp(), self.turn.to(dtype))
        read = torch.view_as_complex(self.read.to(dtype).contiguous())
        # zero-order hold: a step of constant input adds (exp(step rate) - 1) / rate
        return step * rate, 2 * read * ((step * rate).exp() - 1) / rate


class RealModes(nn.Module):
    """Modes that only fade: (step x rate, gain), real [D, N] each."""

    def __init__(self, *, dim: int, modes: int) -> None:
        super().__init__()
        self.log_step = nn.Parameter(first_log_steps(dim))
        self.log_decay = nn.Parameter(torch.arange(1.0, modes + 1.0).log().repeat(dim, 1))
        self.read = nn.Parameter(torch.randn(dim, modes))

    def forward(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        step = self.log_step.to(dtype).exp()[:, None]  # [D, 1]
        rate = -self.log_decay.to(dtype).exp()
        # zero-order hold: a step of constant input adds (exp(step rate) - 1) / rate
        return step * rate, self.read.to(dtype) * torch.expm1(step * rate) / rate


def first_log_steps(count: int) -> Tensor:
    """Step sizes between 0.001 and 0.1, even on a log scale: [count]"""
    return torch.empty(count).uniform_(math.log(0.001), math.log(0.1))


def first_turns(modes: int, start: str) -> Tensor:
    """Imaginary parts of S4D-Lin or S4D-Inv, for `modes` conjugate pairs: [modes]"""
    index = torch.arange(float(modes))
    if start == "linear":
        return math.pi * index
    states = 2 * modes
    return states / math.pi * (states / (2 * index + 1) - 1)


class GLUMix(nn.Module):
    """Mixes channels through a gated linear unit: [B, T, D] -> [B, T, D]."""

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.out(x), dim=-1)
