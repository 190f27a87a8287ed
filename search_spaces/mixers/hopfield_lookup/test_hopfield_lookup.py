"""The layer against the update rule, token by token."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def layer_with(heads: int, steps: int, form: str) -> Any:
    torch.manual_seed(0)
    spec = MIXERS["hopfield_lookup"](
        heads=heads, head_dim=4, patterns=5, steps=steps, beta=1.5, beta_form=form
    )
    return execute(spec.plan(Place(16, 1, 0))).double()


def by_the_rule(layer: Any, x: Tensor, steps: int) -> Tensor:
    """One sequence [T, D], all betas as they start."""
    outputs = []
    for token in x:
        found = []
        for head, (keys, values) in enumerate(zip(layer.keys, layer.values, strict=True)):
            beta = torch.tensor(1.5, dtype=torch.float64)
            if hasattr(layer.beta, "log_beta"):
                own = layer.beta.log_beta.flatten()
                beta = own[head if len(own) > 1 else 0].exp()
            state = layer.query.weight[4 * head : 4 * head + 4] @ token
            for step in range(steps):
                share = (beta / 2 * keys @ state).softmax(0)
                state = share @ (values if step == steps - 1 else keys)
            found.append(state)
        outputs.append(layer.out.weight @ torch.cat(found))
    return torch.stack(outputs)


@pytest.mark.parametrize("form", ["fixed", "learned", "per_head"])
@pytest.mark.parametrize(("heads", "steps"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_equals_the_update_rule(form: str, heads: int, steps: int) -> None:
    layer = layer_with(heads, steps, form)
    for time in (1, 2, 7, 33):
        x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
        wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
        y, expected = layer(x[None])[0], by_the_rule(layer, x, steps)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
        found = torch.autograd.grad((y * towards).sum(), wanted)
        right = torch.autograd.grad((expected * towards).sum(), wanted)
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-10)


def test_a_token_sees_no_other() -> None:
    layer = layer_with(2, 2, "fixed")
    x = torch.randn(1, 9, 16, dtype=torch.float64)
    alone = torch.cat([layer(token) for token in x.split(1, dim=1)], dim=1)
    torch.testing.assert_close(layer(x), alone, rtol=1e-12, atol=1e-13)
