"""The layer against the equations of its README, one token after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def by_the_equations(layer: nn.Module, x: Tensor, lowest: Tensor) -> Tensor:
    """One sequence [T, D]."""
    h = torch.zeros((), dtype=x.dtype)
    outputs = []
    for token in x:
        f = lowest + (1 - lowest) / (1 + torch.exp(-layer.forget.gate(token)))
        h = f * h + (1 - f) * F.silu(layer.enter(token))
        y = h / (h.square().mean() + 1e-6).sqrt() * layer.norm.weight
        gate = getattr(layer.output_gate, "gate", None)
        outputs.append(layer.out(y if gate is None else y * F.silu(gate(token))))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("layer_index", [0, 3])
@pytest.mark.parametrize(
    "numbers",
    [{}, {"bound": "learned", "expand": 2}, {"bound": "none", "output_gate": False}],
    ids=str,
)
def test_equals_the_equations(numbers: dict[str, object], layer_index: int, time: int) -> None:
    torch.manual_seed(0)
    place = Place(6, 5, layer_index)
    spec = MIXERS["hgrn"].model_validate({"kind": "hgrn", **numbers})
    layer = execute(spec.plan(place)).double()
    assert sum(p.numel() for p in layer.parameters()) == spec.cost(place, 8).params
    lowest = torch.tensor(0.0 if spec.bound == "none" else layer_index / 5, dtype=torch.float64)
    if spec.bound == "learned" and layer_index:
        torch.testing.assert_close(layer.forget.bound.sigmoid().mean(), lowest, rtol=0, atol=1e-6)
        torch.nn.init.normal_(layer.forget.bound)
        lowest = layer.forget.bound.sigmoid()
    x = torch.randn(time, 6, dtype=torch.float64, requires_grad=True)
    mine, slow = layer(x[None])[0], by_the_equations(layer, x, lowest)
    torch.testing.assert_close(mine, slow, rtol=1e-10, atol=1e-12)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-9, atol=1e-11)


def test_gates_that_close_entirely_have_finite_gradients() -> None:
    layer = execute(MIXERS["hgrn"](bound="none").plan(Place(6, 1, 0)))
    x = torch.full((1, 40, 6), 1e4, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad.isfinite().all()
