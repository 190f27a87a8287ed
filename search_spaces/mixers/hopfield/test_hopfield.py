"""The layer against the update rule, token by token, and against attention."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def layer_with(causal: bool = True, **numbers: Any) -> Any:
    torch.manual_seed(0)
    layer = execute(MIXERS["hopfield"](**numbers).plan(Place(16, 1, 0, causal))).double()
    for name, parameter in layer.named_parameters():
        if "beta" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    return layer


def betas(layer: Any, heads: int) -> list[Tensor | float]:
    """One for each head, in units of 1 / sqrt(head_dim)."""
    if hasattr(layer.beta, "beta"):
        return [layer.beta.beta] * heads
    learned = layer.beta.log_beta.exp().flatten()
    return list(learned) if len(learned) > 1 else [learned[0]] * heads


def by_the_rule(layer: Any, x: Tensor, causal: bool, heads: int, steps: int) -> Tensor:
    """One sequence [T, D]; no position."""
    width = layer.head_dim
    outputs = []
    for t, token in enumerate(x):
        seen = x[: t + 1] if causal else x
        found = []
        for head, beta in enumerate(betas(layer, heads)):
            rows = slice(head * width, (head + 1) * width)
            keys, values = seen @ layer.key.weight[rows].T, seen @ layer.value.weight[rows].T
            state = layer.query.weight[rows] @ token
            for step in range(steps):
                share = (beta / width**0.5 * keys @ state).softmax(0)
                state = share @ (values if step == steps - 1 else keys)
            found.append(state)
        outputs.append(layer.out.weight @ torch.cat(found))
    return torch.stack(outputs)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("form", ["fixed", "learned", "per_head"])
@pytest.mark.parametrize(("heads", "steps"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_equals_the_update_rule(causal: bool, form: str, heads: int, steps: int) -> None:
    layer = layer_with(
        causal,
        heads=heads,
        head_dim=4,
        steps=steps,
        beta=1.7,
        beta_form=form,
        position={"kind": "none"},
    )
    for time in (1, 2, 7, 33):
        x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
        wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
        y, expected = layer(x[None])[0], by_the_rule(layer, x, causal, heads, steps)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
        found = torch.autograd.grad((y * towards).sum(), wanted)
        right = torch.autograd.grad((expected * towards).sum(), wanted)
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("causal", [True, False])
def test_one_step_is_attention(causal: bool) -> None:
    layer = layer_with(causal, heads=2, head_dim=8, steps=1)
    spec = MIXERS["attention"](heads=2, groups=2, head_dim=8)
    attention = execute(spec.plan(Place(16, 1, 0, causal))).double()
    attention.load_state_dict(layer.state_dict())
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), attention(x), rtol=0, atol=0)


def test_a_sharp_memory_completes_a_pattern_in_one_step() -> None:
    """Exponential capacity: from a noisy half of a stored key, the whole key comes back."""
    layer = layer_with(False, heads=1, head_dim=16, steps=1, beta=200.0, position={"kind": "none"})
    stored = torch.randn(1, 1, 30, 16, dtype=torch.float64)
    noisy = stored[:, :, :1] * (torch.arange(16) < 12)
    retrieved = layer.scope(layer.beta(noisy), stored, stored, 0)
    torch.testing.assert_close(retrieved, stored[:, :, :1], rtol=1e-3, atol=1e-3)
