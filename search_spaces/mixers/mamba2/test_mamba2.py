"""The layer against the equations of its README, one token after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

VARIANTS = {
    "one head": {"heads": 1},
    "four heads": {"heads": 4},
    "groups": {"heads": 6, "groups": 3},
    "a group per head": {"heads": 3, "groups": 3, "states": 4},
    "biases": {"heads": 2, "bias": True, "conv_bias": False},
}


def built(numbers: dict[str, object]) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["mamba2"].model_validate(
        {"kind": "mamba2", "head_dim": 4, "states": 5, "conv": 3, **numbers}
    )
    layer = execute(spec.plan(Place(8, 2, 0))).double()
    torch.nn.init.normal_(layer.skip)
    torch.nn.init.normal_(layer.norm.weight)
    return layer


def by_the_equations(layer: nn.Module, x: Tensor, groups: int) -> Tensor:
    """One sequence [T, D]."""
    head_dim, states = layer.head_dim, layer.states
    heads = layer.decay.a_log.numel()
    entered = F.pad(layer.enter(x), (0, 0, 2, 0))
    kernel, bias = layer.conv.conv.weight[:, 0], layer.conv.conv.bias
    h = torch.zeros(heads, states, head_dim, dtype=x.dtype)
    outputs = []
    for t, token in enumerate(x):
        u = sum(kernel[:, i] * entered[t + i] for i in range(3))
        u = F.silu(u if bias is None else u + bias)
        v, write, read = u.split(layer.widths)
        v = v.view(heads, head_dim)
        group = torch.arange(heads) * groups // heads
        write, read = write.view(groups, states)[group], read.view(groups, states)[group]
        step = torch.log1p(torch.exp(layer.decay.rate(token) + layer.decay.step_bias))
        fade = torch.exp(-layer.decay.a_log.exp() * step)
        h = fade[:, None, None] * h + torch.einsum("h,hn,hp->hnp", step, write, v)
        y = torch.einsum("hnp,hn->hp", h, read) + layer.skip[:, None] * v
        gated = (y.flatten() * F.silu(layer.gate(token))).view(groups, -1)
        normed = gated / (gated.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        outputs.append(layer.out(normed.flatten() * layer.norm.weight))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_equations(name: str, time: int) -> None:
    layer = built(VARIANTS[name])
    x = torch.randn(time, 8, dtype=torch.float64, requires_grad=True)
    leaves = [x, *layer.parameters()]
    cotangent = torch.randn(time, 8, dtype=torch.float64)
    slow = by_the_equations(layer, x, VARIANTS[name].get("groups", 1))
    mine = layer(x[None])[0]
    torch.testing.assert_close(mine, slow, rtol=1e-9, atol=1e-11)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-8, atol=1e-10)
