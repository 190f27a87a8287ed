"""The layer against the equations of its README, and the forms of decoding against each other."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

NUMBERS = {"heads": 3, "kv_rank": 6, "nope_dim": 4, "rope_dim": 2, "value_dim": 5}
ONE_HEAD = {"heads": 1, "kv_rank": 5, "nope_dim": 3, "rope_dim": 4, "value_dim": 2, "q_rank": 7}


def layer_with(causal: bool = True, **numbers: Any) -> Any:
    torch.manual_seed(0)
    layer = execute(MIXERS["latent_attention"](**numbers).plan(Place(16, 1, 0, causal))).double()
    for norm in (m for m in layer.modules() if type(m).__name__ == "RMSNorm"):
        torch.nn.init.normal_(norm.weight, 1.0, 0.3)
    return layer


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def rotate(x: Tensor, time: int) -> Tensor:
    half = len(x) // 2
    turned = []
    for i in range(half):
        angle = torch.tensor(time * 10_000.0 ** (-i / half)).float()
        turned.append((x[i] * angle.cos() - x[i + half] * angle.sin()).double())
    for i in range(half):
        angle = torch.tensor(time * 10_000.0 ** (-i / half)).float()
        turned.append((x[i + half] * angle.cos() + x[i] * angle.sin()).double())
    return torch.stack(turned)


def by_the_equations(layer: Any, x: Tensor, causal: bool, numbers: dict[str, int]) -> Tensor:
    """One sequence [T, D], token by token and head by head."""
    heads, nope, rope = numbers["heads"], numbers["nope_dim"], numbers["rope_dim"]
    latent = [rms(layer.latent.weight @ token, layer.latent_norm.weight) for token in x]
    shared = [rotate(layer.shared_key.weight @ token, t) for t, token in enumerate(x)]
    outputs = []
    for t, token in enumerate(x):
        source = token
        if "q_rank" in numbers:
            source = rms(layer.query.down.weight @ token, layer.query.norm.weight)
        seen = range(t + 1) if causal else range(len(x))
        found = []
        for head in range(heads):
            q = (layer.query.up.weight @ source).view(heads, nope + rope)[head]
            q = torch.cat((q[:nope], rotate(q[nope:], t)))
            up_k = layer.key.weight.view(heads, nope, -1)[head]
            up_v = layer.value.weight.view(heads, numbers["value_dim"], -1)[head]
            keys = torch.stack([torch.cat((up_k @ latent[s], shared[s])) for s in seen])
            values = torch.stack([up_v @ latent[s] for s in seen])
            found.append((keys @ q / (nope + rope) ** 0.5).softmax(0) @ values)
        outputs.append(layer.out.weight @ torch.cat(found))
    return torch.stack(outputs)


@pytest.mark.parametrize("numbers", [NUMBERS, ONE_HEAD], ids=["direct", "latent-query"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(numbers: dict[str, int], causal: bool, time: int) -> None:
    layer = layer_with(causal, **numbers)
    x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(time, 16, dtype=torch.float64)
    wanted = [x, *layer.parameters()]
    y, expected = layer(x[None])[0], by_the_equations(layer, x, causal, numbers)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-7)  # angles are in float32
    found = torch.autograd.grad((y * towards).sum(), wanted)
    # one token gives queries nothing to choose from
    right = torch.autograd.grad((expected * towards).sum(), wanted)
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_absorbed_equals_expanded() -> None:
    layer = layer_with(**NUMBERS)
    q_nope, q_rope = (torch.randn(2, 3, 1, n, dtype=torch.float64) for n in (4, 2))
    latent, shared = (torch.randn(2, 1, 9, n, dtype=torch.float64) for n in (6, 2))
    one, other = (f(q_nope, q_rope, latent, shared, 8) for f in (layer.absorbed, layer.expanded))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_has_the_parameters_and_the_cache_of_deepseek_v2_lite() -> None:
    spec = MIXERS["latent_attention"](
        heads=16, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128
    )
    at = Place(2048, 27, 0)
    projections = 2048 * 16 * 192 + 2048 * (512 + 64) + 512 * 16 * 256 + 16 * 128 * 2048
    assert spec.cost(at, 1).params == projections + 512
    assert spec.memory(at).cache_per_token == 576
