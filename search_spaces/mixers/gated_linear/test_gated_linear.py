"""The layer against the equations of its README, one token after another."""

import torch
import torch.nn.functional as F

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def test_equals_the_equations() -> None:
    torch.manual_seed(0)
    heads, key, value = 2, 4, 8
    spec = MIXERS["gated_linear"](
        heads=heads, head_dim=key, value_factor=2, gate_rank=3, temperature=2.0
    )
    layer = execute(spec.plan(Place(16, 1, 0))).double()
    x = torch.randn(20, 16, dtype=torch.float64)

    state = torch.zeros(heads, key, value, dtype=torch.float64)
    outputs = []
    for token in x:
        q = layer.query(token).view(heads, key)
        k = layer.key(token).view(heads, key)
        v = layer.value(token).view(heads, value)
        gate = layer.forget_up(layer.forget_down(token)).sigmoid().sqrt().view(heads, key)
        state = gate[:, :, None] * state + k[:, :, None] * v[:, None, :]
        o = layer.norm((state * q[:, :, None]).sum(dim=1) / key**0.5)
        outputs.append(layer.out(F.silu(layer.gate(token)) * o.flatten()))
    torch.testing.assert_close(layer(x[None])[0], torch.stack(outputs), rtol=1e-10, atol=1e-12)
