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
    "three heads": {"heads": 3, "value_factor": 2, "gate_rank": 3, "temperature": 2.0},
    "scalar": {"heads": 2, "gate": "scalar"},
    "no gate": {"heads": 2, "gate": "none", "output_gate": False},
    "convolved": {"heads": 2, "conv": 3},
}


def gates(layer: nn.Module, token: Tensor, heads: int) -> Tensor:
    """[H, K], [H, 1] or [1, 1]"""
    fade = layer.fade
    if hasattr(fade, "up"):
        return fade.up(fade.down(token)).view(heads, -1).sigmoid() ** (1 / fade.temperature)
    if hasattr(fade, "gate"):
        return fade.gate(token)[:, None].sigmoid() ** (1 / fade.temperature)
    return torch.ones(1, 1, dtype=token.dtype)


def by_the_equations(layer: nn.Module, x: Tensor, heads: int) -> Tensor:
    """One sequence [T, D]."""
    key, value = layer.key_dim, layer.value_dim
    qkv = layer.qkv(x)
    if hasattr(layer.local, "conv"):
        kernel = layer.local.conv.conv.weight[:, 0]  # [C, 3]
        padded = F.pad(qkv, (0, 0, 2, 0))
        qkv = F.silu(sum(kernel[:, i] * padded[i : i + len(x)] for i in range(3)))
    state = torch.zeros(heads, key, value, dtype=x.dtype)
    outputs = []
    for token, mixed in zip(x, qkv, strict=True):
        q, k, v = mixed.split(layer.widths)
        q, k, v = q.view(heads, key), k.view(heads, key), v.view(heads, value)
        state = gates(layer, token, heads)[:, :, None] * state + k[:, :, None] * v[:, None, :]
        o = (state * q[:, :, None]).sum(dim=1) / key**0.5
        y = o / (o.square().mean(dim=1, keepdim=True) + 1e-6).sqrt() * layer.norm.weight
        gate = getattr(layer.output_gate, "gate", None)
        y = y.flatten() if gate is None else y.flatten() * F.silu(gate(token))
        outputs.append(layer.out(y))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_equations(name: str, time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["gated_linear"].model_validate(
        {"kind": "gated_linear", "head_dim": 4, **VARIANTS[name]}
    )
    layer = execute(spec.plan(Place(8, 1, 0))).double()
    x = torch.randn(time, 8, dtype=torch.float64, requires_grad=True)
    mine, slow = layer(x[None])[0], by_the_equations(layer, x, spec.heads)
    torch.testing.assert_close(mine, slow, rtol=1e-9, atol=1e-11)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-8, atol=1e-10)
