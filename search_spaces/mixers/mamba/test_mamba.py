"""The layer against the equations of its README, one token after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

VARIANTS = {
    "published": {},
    "one state": {"states": 1},
    "biases": {"bias": True, "conv_bias": False, "step_rank": 3},
    "ungated": {"gate": False},
    "fixed step": {"select_step": False},
    "fixed write": {"select_write": False},
    "fixed read": {"select_read": False},
    "not selective": {"select_step": False, "select_write": False, "select_read": False},
}


def built(numbers: dict[str, object], dim: int = 8) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["mamba"].model_validate({"kind": "mamba", "states": 5, "conv": 3, **numbers})
    return execute(spec.plan(Place(dim, 2, 0))).double()


def by_the_equations(layer: nn.Module, x: Tensor) -> Tensor:
    """One sequence [T, D]."""
    rates = -layer.log_rates.exp()  # [N, E]
    entered = F.pad(layer.enter(x), (0, 0, 2, 0))  # [2 + T, E]
    kernel, bias = layer.conv.conv.weight[:, 0], layer.conv.conv.bias
    h = torch.zeros_like(rates)
    outputs = []
    for t, token in enumerate(x):
        u = sum(kernel[:, i] * entered[t + i] for i in range(3))
        u = F.silu(u if bias is None else u + bias)
        step = layer.step
        raw = step.up(step.down(u)) if hasattr(step, "up") else step.bias
        size = torch.log1p(raw.exp())
        write, read = (
            vector.project(u)[:, None] if hasattr(vector, "project") else vector.weight[0, 0]
            for vector in (layer.write, layer.read)
        )
        h = torch.exp(size * rates) * h + size * write * u
        y = (read * h).sum(dim=0) + layer.skip * u
        gate = getattr(layer.output_gate, "gate", None)
        outputs.append(layer.out(y if gate is None else y * F.silu(gate(token))))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_equations(name: str, time: int) -> None:
    layer = built(VARIANTS[name])
    x = torch.randn(time, 8, dtype=torch.float64, requires_grad=True)
    leaves = [x, *layer.parameters()]
    cotangent = torch.randn(time, 8, dtype=torch.float64)
    mine, slow = layer(x[None])[0], by_the_equations(layer, x)
    torch.testing.assert_close(mine, slow, rtol=1e-10, atol=1e-12)
    # with one token nothing fades, so the rates have no gradient
    gradients = (torch.autograd.grad(y, leaves, cotangent, allow_unused=True) for y in (mine, slow))
    for fast, true in zip(*gradients, strict=True):
        fast, true = (torch.zeros(()) if g is None else g for g in (fast, true))
        torch.testing.assert_close(fast, true.expand_as(fast), rtol=1e-9, atol=1e-11)


def test_steps_and_rates_start_as_published() -> None:
    layer = built({"states": 3}, dim=1000)
    steps = F.softplus(layer.step.up.bias)
    assert 0.000999 <= steps.min() < 0.002
    assert 0.05 < steps.max() <= 0.1001
    torch.testing.assert_close(layer.log_rates.exp()[:, 0], torch.arange(1.0, 4.0).double())


def test_step_rank_is_a_sixteenth_of_the_width_rounded_up() -> None:
    for dim, rank in ((8, 1), (16, 1), (17, 2), (768, 48)):
        assert MIXERS["mamba"]().rank(Place(dim, 1, 0)) == rank
    assert MIXERS["mamba"](step_rank=5).rank(Place(64, 1, 0)) == 5
