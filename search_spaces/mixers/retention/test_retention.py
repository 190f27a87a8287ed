"""The recurrent form that runs against the parallel form of the paper."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def parallel_form(layer: nn.Module, x: Tensor) -> Tensor:
    """One sequence [T, D] with a dense matrix of decays for each head."""
    time, key, value = len(x), layer.key_dim, layer.value_dim
    distance = torch.arange(time)[:, None] - torch.arange(time)
    outputs = []
    for head in range(layer.heads):
        keys, values = (slice(head * width, (head + 1) * width) for width in (key, value))
        q = layer.position((x @ layer.query.weight[keys].T)[None, None], 0)[0, 0]
        k = layer.position((x @ layer.key.weight[keys].T)[None, None], 0)[0, 0]
        v = x @ layer.value.weight[values].T
        decay = (1 - 2.0 ** (-5 - head)) ** distance.clamp_min(0) * (distance >= 0)
        o = (q @ k.T / key**0.5 * decay) @ v
        if hasattr(layer.norm, "bias"):  # a layer norm without weights
            o = o - o.mean(dim=1, keepdim=True)
            outputs.append(o / (o.square().mean(dim=1, keepdim=True) + 1e-5).sqrt())
        else:
            scale = (o.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
            outputs.append(o / scale * layer.norm.weight)
    return (torch.cat(outputs, dim=-1) * F.silu(layer.gate(x))) @ layer.out.weight.T


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize(
    "numbers",
    [
        {"heads": 1},
        {"heads": 4, "value_factor": 2},
        {"heads": 2, "norm": "rms", "position": {"kind": "none"}},
    ],
    ids=str,
)
def test_equals_the_parallel_form_of_the_paper(numbers: dict[str, object], time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["retention"].model_validate({"kind": "retention", "head_dim": 4, **numbers})
    layer = execute(spec.plan(Place(8, 1, 0))).double()
    x = torch.randn(time, 8, dtype=torch.float64, requires_grad=True)
    mine, slow = layer(x[None])[0], parallel_form(layer, x)
    # decays are kept in float32, so no closer than that
    torch.testing.assert_close(mine, slow, rtol=1e-4, atol=1e-5)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-4, atol=1e-4)
