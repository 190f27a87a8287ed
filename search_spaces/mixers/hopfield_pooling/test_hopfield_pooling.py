"""The layer against the equations of its README."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def layer_with(heads: int, steps: int, form: str) -> Any:
    torch.manual_seed(0)
    spec = MIXERS["hopfield_pooling"](
        heads=heads, head_dim=4, states=3, steps=steps, beta=1.5, beta_form=form
    )
    return execute(spec.plan(Place(16, 1, 0, False))).double()


def by_the_equations(layer: Any, x: Tensor, steps: int) -> Tensor:
    """One sequence [T, D]."""
    found = []
    for head, states in enumerate(layer.states):
        beta = torch.tensor(1.5, dtype=torch.float64)
        if hasattr(layer.beta, "log_beta"):
            own = layer.beta.log_beta.flatten()
            beta = own[head if len(own) > 1 else 0].exp()
        rows = slice(4 * head, 4 * head + 4)
        q, k, v = (x @ w.weight[rows].T for w in (layer.query, layer.key, layer.value))
        pooled_k, pooled_v = [], []
        for state in states:
            for _ in range(steps - 1):
                state = (beta / 2 * k @ state).softmax(0) @ k
            share = (beta / 2 * k @ state).softmax(0)
            pooled_k.append(share @ k)
            pooled_v.append(share @ v)
        share = (beta / 2 * q @ torch.stack(pooled_k).T).softmax(-1)
        found.append(share @ torch.stack(pooled_v))
    return torch.cat(found, dim=-1) @ layer.out.weight.T


@pytest.mark.parametrize("form", ["fixed", "learned", "per_head"])
@pytest.mark.parametrize(("heads", "steps"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_equals_the_equations(form: str, heads: int, steps: int) -> None:
    layer = layer_with(heads, steps, form)
    for time in (1, 2, 7, 33):
        x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
        wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
        y, expected = layer(x[None])[0], by_the_equations(layer, x, steps)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
        found = torch.autograd.grad((y * towards).sum(), wanted)
        right = torch.autograd.grad((expected * towards).sum(), wanted)
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-10)
