"""The layer against the formula of its README, head by head."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

AT = Place(16, 1, 0, False)


def layer_with(sharing: str, heads: int) -> Any:
    torch.manual_seed(0)
    spec = MIXERS["low_rank_attention"](
        heads=heads, head_dim=4, rank=3, max_tokens=33, sharing=sharing
    )
    return execute(spec.plan(AT)).double()


def matrices(layer: Any, head: int) -> tuple[Tensor, Tensor]:
    """E and F of a head."""
    if hasattr(layer.to_rank, "both"):
        return layer.to_rank.both[0], layer.to_rank.both[0]
    index = head if len(layer.to_rank.keys) > 1 else 0
    return layer.to_rank.keys[index], layer.to_rank.values[index]


def by_the_formula(layer: Any, x: Tensor, heads: int) -> Tensor:
    """One sequence [T, D]."""
    found = []
    for head in range(heads):
        rows = slice(4 * head, 4 * head + 4)
        q, k, v = (x @ w.weight[rows].T for w in (layer.query, layer.key, layer.value))
        e, f = matrices(layer, head)
        weights = (q @ (e[:, : len(x)] @ k).T / 4**0.5).softmax(-1)
        found.append(weights @ (f[:, : len(x)] @ v))
    return torch.cat(found, dim=-1) @ layer.out.weight.T


@pytest.mark.parametrize("sharing", ["none", "heads", "heads_and_kv"])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_formula(sharing: str, heads: int, time: int) -> None:
    layer = layer_with(sharing, heads)
    x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
    wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
    y, expected = layer(x[None])[0], by_the_formula(layer, x, heads)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    found = torch.autograd.grad((y * towards).sum(), wanted)
    right = torch.autograd.grad((expected * towards).sum(), wanted)
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-11)


def test_a_longer_input_is_refused() -> None:
    with pytest.raises(ValueError, match="34 tokens"):
        layer_with("none", 2)(torch.randn(1, 34, 16, dtype=torch.float64))
