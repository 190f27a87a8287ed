"""The layer against the equations of its README, one token after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

FLOOR = 1e-4


def by_the_equations(layer: nn.Module, x: Tensor, lowest: Tensor) -> Tensor:
    """One sequence [T, D]."""
    key, value = layer.key_dim, layer.value_dim
    heads = layer.query.out_features // key
    state = torch.zeros(heads, key, value, dtype=x.dtype)
    outputs = []
    for token in x:
        f = lowest + (1 - lowest) / (1 + torch.exp(-layer.forget.gate(token)))
        f, v = f.view(heads, key), layer.value(token).view(heads, value)
        state = f[:, :, None] * state + (1 - f)[:, :, None] * v[:, None]
        q = F.silu(layer.query(token)).view(heads, key)
        o = (q[:, :, None] * state).sum(dim=1).flatten()
        y = o / (o.square().mean() + 1e-6).sqrt() * layer.norm.weight
        gate = getattr(layer.output_gate, "gate", None)
        outputs.append(layer.out(y if gate is None else y * F.silu(gate(token))))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("layer_index", [0, 3])
@pytest.mark.parametrize(
    "numbers",
    [
        {"heads": 1},
        {"heads": 3, "bound": "learned", "value_factor": 2},
        {"heads": 2, "bound": "none", "output_gate": True},
    ],
    ids=str,
)
def test_equals_the_equations(numbers: dict[str, object], layer_index: int, time: int) -> None:
    torch.manual_seed(0)
    place = Place(6, 5, layer_index)
    spec = MIXERS["hgrn2"].model_validate({"kind": "hgrn2", "head_dim": 4, **numbers})
    layer = execute(spec.plan(place)).double()
    assert sum(p.numel() for p in layer.parameters()) == spec.cost(place, 8).params
    share = layer_index / 5 if spec.bound == "layer" else 0.0
    lowest = torch.tensor(max(share, FLOOR), dtype=torch.float64)
    if spec.bound == "learned" and layer_index:
        torch.nn.init.normal_(layer.forget.bound)
        lowest = FLOOR + (1 - FLOOR) * layer.forget.bound.sigmoid()
    x = torch.randn(time, 6, dtype=torch.float64, requires_grad=True)
    mine, slow = layer(x[None])[0], by_the_equations(layer, x, lowest)
    torch.testing.assert_close(mine, slow, rtol=1e-9, atol=1e-11)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-8, atol=1e-10)


def test_gates_that_close_entirely_stay_finite_in_float32() -> None:
    layer = execute(MIXERS["hgrn2"](heads=2, head_dim=4, bound="none").plan(Place(6, 1, 0)))
    x = torch.full((1, 70, 6), 1e4, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
