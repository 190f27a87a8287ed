"""The layer against the equations of its README, one token after another, and its first decays."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.gated_delta.module import LearnedDecay

OPTIONS = {
    "gated": {"value_factor": 2, "conv": 3},
    "deltanet": {"decay": False, "output_gate": False},
    "no conv": {"conv": 1},
    "no feature": {"feature": "identity"},
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
        mixed = sum(taps[:, i] * seen for i, seen in enumerate(latest))
        q, k, v = mixed.split((heads * key, heads * key, heads * spec.value_dim))
        if spec.feature == "silu":
            q, k = F.silu(q), F.silu(k)
        q, k, v = q.view(heads, key), k.view(heads, key), F.silu(v).view(heads, spec.value_dim)
        q, k = (u / u.norm(dim=-1, keepdim=True) for u in (q, k))
        beta = (2 if spec.negative_eigenvalues else 1) * layer.beta(token).sigmoid()
        alpha = x.new_ones(heads)
        if spec.decay:
            step = F.softplus(layer.decay.rate(token) + layer.decay.step_bias)
            alpha = torch.exp(-layer.decay.a_log.exp() * step)
        old = torch.einsum("hk,hkv->hv", k, state)
        write = torch.einsum("h,hk,hv->hkv", beta, k, v - alpha[:, None] * old)
        state = alpha[:, None, None] * state + write
        o = layer.norm(torch.einsum("hk,hkv->hv", q, state) / key**0.5).flatten()
        if spec.output_gate:
            o = o * F.silu(layer.output_gate.gate(token))
        outputs.append(layer.out(o))
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_equations(options: dict[str, Any], heads: int, time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["gated_delta"](heads=heads, head_dim=4, **options)
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


def test_decay_starts_between_its_bounds() -> None:
    torch.manual_seed(0)
    log_decay = LearnedDecay(dim=8, heads=1000)(torch.zeros(1, 1, 8))
    assert log_decay.shape == (1, 1000, 1)
    assert -16 * 0.1 * 1.001 <= log_decay.min() < -1
    assert -0.01 < log_decay.max() <= -0.001 * 0.999
