"""The layer against the equations of its README, one token after another."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.kimi_delta.module import ChannelDecay

OPTIONS = {
    "defaults": {},
    "no conv": {"conv": 1},
    "wide values": {"value_factor": 2, "conv": 3, "gate_rank": 5},
    "silu gate": {"output_gate": "silu"},
    "no gate": {"output_gate": "none"},
    "negative": {"negative_eigenvalues": True},
}


def sequential(layer: Any, spec: Any, x: Tensor) -> Tensor:
    """The README's equations for one sequence [T, D]."""
    heads, key = spec.heads, spec.head_dim
    taps = layer.conv.conv.weight[:, 0] if spec.conv > 1 else x.new_ones(1, 1)
    latest = [x.new_zeros(spec.channels)] * spec.conv
    state = x.new_zeros(heads, key, spec.value_dim)
    outputs = []
    for token in x:
        latest = [*latest[1:], layer.qkv(token)]
        mixed = F.silu(sum(taps[:, i] * seen for i, seen in enumerate(latest)))
        q, k, v = mixed.split((heads * key, heads * key, heads * spec.value_dim))
        q, k, v = q.view(heads, key), k.view(heads, key), v.view(heads, spec.value_dim)
        q, k = (u / u.norm(dim=-1, keepdim=True) for u in (q, k))
        beta = (2 if spec.negative_eigenvalues else 1) * layer.beta(token).sigmoid()
        step = F.softplus(layer.decay.up(layer.decay.down(token)) + layer.decay.step_bias)
        alpha = torch.exp(-layer.decay.a_log.exp()[:, 0] * step.view(heads, key))
        erase = torch.eye(key, dtype=x.dtype) - torch.einsum("h,hi,hj->hij", beta, k, k)
        write = torch.einsum("h,hk,hv->hkv", beta, k, v)
        state = erase @ torch.diag_embed(alpha) @ state + write
        o = layer.norm(torch.einsum("hk,hkv->hv", q, state) / key**0.5).flatten()
        if spec.output_gate != "none":
            gate = layer.output_gate.up(layer.output_gate.down(token))
            o = o * (gate.sigmoid() if spec.output_gate == "sigmoid" else F.silu(gate))
        outputs.append(layer.out(o))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_equations(options: dict[str, Any], heads: int, time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["kimi_delta"](heads=heads, head_dim=4, **options)
    layer = execute(spec.plan(Place(16, 1, 0))).double()
    x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
    inputs, weights = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
    fast, slow = layer(x[None])[0], sequential(layer, spec, x)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)
    gradients = [
        torch.autograd.grad(y, inputs, weights, materialize_grads=True) for y in (fast, slow)
    ]
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-10)


def test_decay_starts_between_its_bounds_and_never_falls_below_the_range() -> None:
    torch.manual_seed(0)
    decay = ChannelDecay(dim=8, heads=100, key_dim=10, rank=4)
    log_decay = decay(torch.zeros(1, 1, 8))
    assert log_decay.shape == (1, 100, 1, 10)
    assert -16 * 0.1 * 1.001 <= log_decay.min() < -1
    assert -0.01 < log_decay.max() <= -0.001 * 0.999
    assert decay(1e4 * torch.randn(1, 1, 8)).min() == -10
