"""The recurrent form that runs against the parallel form of the paper."""

import torch
import torch.nn.functional as F

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def test_equals_the_parallel_form_of_the_paper() -> None:
    torch.manual_seed(0)
    heads, key, time = 4, 8, 40
    spec = MIXERS["retention"](heads=heads, head_dim=key, value_factor=2)
    layer = execute(spec.plan(Place(32, 1, 0))).double()
    x = torch.randn(1, time, 32, dtype=torch.float64)

    distance = torch.arange(time)[:, None] - torch.arange(time)
    outputs = []
    for head in range(heads):
        rows = slice(head * key, (head + 1) * key)
        q = layer.position((x @ layer.query.weight[rows].T)[:, None], 0)[0, 0]
        k = layer.position((x @ layer.key.weight[rows].T)[:, None], 0)[0, 0]
        v = x[0] @ layer.value.weight[2 * head * key : 2 * (head + 1) * key].T
        decay = (1 - 2.0 ** (-5 - head)) ** distance.clamp_min(0) * (distance >= 0)
        outputs.append(F.layer_norm(q @ k.T / key**0.5 * decay @ v, (2 * key,)))
    expected = (torch.cat(outputs, dim=-1) * F.silu(layer.gate(x[0]))) @ layer.out.weight.T
    # decays are kept in float32, so no closer than that
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-5, atol=1e-6)
