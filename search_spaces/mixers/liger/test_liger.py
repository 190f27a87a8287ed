"""The layer against the equations of its README, one token after another."""

import pytest
import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

VARIANTS = {
    "one head": {"heads": 1, "groups": 1},
    "grouped": {"heads": 4, "groups": 2},
    "own gate": {"heads": 2, "groups": 1, "gate": "projection", "temperature": 3.0},
    "learned": {"heads": 2, "groups": 2, "mixture": "learned"},
}
WIDTH, WINDOW = 4, 3


def rotated(x: Tensor, time: int) -> Tensor:
    """[H, K] at a position: pairs of channels i and i + K/2 are turned."""
    half = x.shape[-1] // 2
    angle = time * 10000.0 ** (-torch.arange(half) / half)  # float32, as the positions are
    a, b = x[:, :half], x[:, half:]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def by_the_equations(layer: nn.Module, x: Tensor, heads: int, groups: int) -> Tensor:
    """One sequence [T, D]."""
    share = heads // groups
    state = torch.zeros(heads, WIDTH, WIDTH, dtype=x.dtype)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    outputs = []
    for time, token in enumerate(x):
        q = layer.query(token).view(heads, WIDTH)
        k, v = (
            f(token).view(groups, WIDTH).repeat_interleave(share, 0)
            for f in (layer.key, layer.value)
        )
        gate = k
        if hasattr(layer.gate, "forget"):
            gate = layer.gate.forget(token).view(groups, WIDTH).repeat_interleave(share, 0)
        fade = gate.sigmoid() ** (1 / layer.gate.temperature)
        state = fade[:, :, None] * state + k.softmax(-1)[:, :, None] * v[:, None]
        far = torch.einsum("hkv,hk->hv", state, q.softmax(-1))
        keys.append(rotated(k, time))
        values.append(v)
        seen = torch.stack(keys[-WINDOW:])  # [W, H, K]
        scores = (seen * rotated(q, time)).sum(-1) / WIDTH**0.5
        near = (scores.softmax(0)[:, :, None] * torch.stack(values[-WINDOW:])).sum(0)
        weight = layer.mixture.logit.sigmoid()[:, 0] if hasattr(layer.mixture, "logit") else 0.5
        outputs.append(layer.out((weight * near + (1 - weight) * far).flatten()))
    return torch.stack(outputs)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_values_and_gradients(name: str, time: int) -> None:
    fields = {"head_dim": WIDTH, "window": WINDOW, **VARIANTS[name]}
    spec = MIXERS["liger"].model_validate({"kind": "liger", **fields})
    torch.manual_seed(0)
    layer = execute(spec.plan(Place(8, 1, 0))).double()
    if hasattr(layer.mixture, "logit"):
        nn.init.normal_(layer.mixture.logit)
    x = torch.randn(2, time, 8, dtype=torch.float64, requires_grad=True)
    slow = torch.stack([by_the_equations(layer, s, fields["heads"], fields["groups"]) for s in x])
    torch.testing.assert_close(layer(x), slow, rtol=1e-10, atol=1e-10)
    weight = torch.randn_like(slow)
    inputs = [x, *layer.parameters()]
    fast_grads = torch.autograd.grad((layer(x) * weight).sum(), inputs)
    slow_grads = torch.autograd.grad((slow * weight).sum(), inputs)
    for fast, expected in zip(fast_grads, slow_grads, strict=True):
        torch.testing.assert_close(fast, expected, rtol=1e-9, atol=1e-10)
