"""The layer against the equations of its README, one token after another."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def built(start: str, glu: bool, states: int = 6, dim: int = 5) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["s4d"](states=states, start=start, glu=glu)
    return execute(spec.plan(Place(dim, 1, 0))).double()


def by_the_equations(layer: nn.Module, x: Tensor, start: str, glu: bool) -> Tensor:
    """One sequence [T, D]."""
    modes = layer.modes
    rate = -modes.log_decay.exp()
    read = modes.read
    if start != "real":
        rate = rate + 1j * modes.turn
        read = 2 * (modes.read[..., 0] + 1j * modes.read[..., 1])
    fade = torch.exp(modes.log_step.exp()[:, None] * rate)  # [D, N]
    h = torch.zeros((), dtype=x.dtype)
    outputs = []
    for token in x:
        h = fade * h + (fade - 1) / rate * token[:, None]
        y = (read * h).real.sum(dim=1) + layer.skip * token
        mixed = (layer.mix.out if glu else layer.mix)(F.gelu(y))
        if glu:
            value, gate = mixed.chunk(2)
            mixed = value * gate.sigmoid()
        outputs.append(mixed)
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("glu", [True, False])
@pytest.mark.parametrize("start", ["linear", "inverse", "real"])
def test_equals_the_equations(start: str, glu: bool, time: int) -> None:
    layer = built(start, glu)
    x = torch.randn(time, 5, dtype=torch.float64, requires_grad=True)
    mine, slow = layer(x[None])[0], by_the_equations(layer, x, start, glu)
    torch.testing.assert_close(mine, slow, rtol=1e-9, atol=1e-11)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("start", ["linear", "real"])
def test_gradients_pass_the_state(start: str) -> None:
    layer = built(start, True)
    x = torch.randn(1, 9, 5, dtype=torch.float64, requires_grad=True)
    state = layer.empty_state()
    pieces = [layer(piece, state) for piece in x.split([4, 1, 4], dim=1)]
    whole, split = layer(x).square().sum(), torch.cat(pieces, dim=1).square().sum()
    leaves = [x, *layer.parameters()]
    for a, b in zip(*(torch.autograd.grad(y, leaves) for y in (whole, split)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_starts() -> None:
    turns = {
        s: built(s, True, states=4, dim=2).modes.turn[0].tolist() for s in ("linear", "inverse")
    }
    assert turns["linear"] == pytest.approx([0.0, math.pi])
    assert turns["inverse"] == pytest.approx([4 / math.pi * 3, 4 / math.pi * (4 / 3 - 1)])
    rates = built("real", True, states=4, dim=2).modes.log_decay[0].exp()
    assert rates.tolist() == pytest.approx([1, 2, 3, 4])
