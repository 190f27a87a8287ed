"""The layer against the equations of its README, one token after another, and its first decays."""

import pytest
import torch
import torch.nn.functional as F

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.gated_delta.module import LearnedDecay


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "deltanet"])
def test_equals_the_equations(gated: bool) -> None:
    torch.manual_seed(0)
    heads, key, value = 2, 4, 8
    spec = MIXERS["gated_delta"](
        heads=heads, head_dim=key, value_factor=2, conv=3, decay=gated, output_gate=gated
    )
    layer = execute(spec.plan(Place(16, 1, 0))).double()
    x = torch.randn(20, 16, dtype=torch.float64)

    latest = [torch.zeros(spec.channels, dtype=torch.float64)] * 2
    state = torch.zeros(heads, key, value, dtype=torch.float64)
    outputs = []
    for token in x:
        latest.append(layer.qkv(token))
        mixed = F.silu(sum(layer.conv.weight[:, 0, i] * latest[i - 3] for i in range(3)))
        q, k, v = mixed.split((heads * key, heads * key, heads * value))
        q, k, v = q.view(heads, key), k.view(heads, key), v.view(heads, value)
        q, k = (u / u.norm(dim=-1, keepdim=True) for u in (q, k))
        beta, alpha = layer.beta(token).sigmoid(), torch.ones(heads, dtype=torch.float64)
        if gated:
            step = F.softplus(layer.decay.rate(token) + layer.decay.step_bias)
            alpha = torch.exp(-layer.decay.a_log.exp() * step)
        old = torch.einsum("hk,hkv->hv", k, state)
        write = torch.einsum("h,hk,hv->hkv", beta, k, v - alpha[:, None] * old)
        state = alpha[:, None, None] * state + write
        o = layer.norm(torch.einsum("hk,hkv->hv", q, state) / key**0.5).flatten()
        if gated:
            o = o * F.silu(layer.output_gate.gate(token))
        outputs.append(layer.out(o))
    torch.testing.assert_close(layer(x[None])[0], torch.stack(outputs), rtol=1e-10, atol=1e-12)


def test_decay_starts_between_its_bounds() -> None:
    torch.manual_seed(0)
    log_decay = LearnedDecay(dim=8, heads=1000)(torch.zeros(1, 1, 8))
    assert log_decay.shape == (1, 1000, 1)
    assert -16 * 0.1 * 1.001 <= log_decay.min() < -1
    assert -0.01 < log_decay.max() <= -0.001 * 0.999
