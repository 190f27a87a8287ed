"""The experts against the sum of their README, token by token."""

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import FFNS


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("shared", [0, 2])
def test_equals_the_sum_over_experts(shared: int, renormalise: bool, time: int) -> None:
    torch.manual_seed(0)
    spec = FFNS["experts"].model_validate(
        {
            "kind": "experts",
            "experts": 5,
            "top_k": 3,
            "shared": shared,
            "expert": {"kind": "geglu", "hidden": 4},
            "renormalise": renormalise,
        }
    )
    ffn = execute(spec.plan(Place(6, 1, 0))).double()
    routed = ffn.routed if shared else ffn
    x = torch.randn(2, time, 6, dtype=torch.float64, requires_grad=True)
    rows = []
    for token in x.flatten(0, 1):
        logits = routed.router(token).float()
        probability = logits.softmax(-1).double()
        chosen = probability.argsort(descending=True)[:3]
        total = probability[chosen].sum() if renormalise else 1.0
        y = sum(probability[i] / total * routed.experts[i](token) for i in chosen)
        rows.append(y + sum(expert(token) for expert in (ffn.shared if shared else ())))
    expected = torch.stack(rows).view_as(x)
    actual = ffn(x)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)  # gates are float32
    mix = torch.randn_like(expected)
    of = [x, *ffn.parameters()]
    got = torch.autograd.grad((actual * mix).sum(), of, allow_unused=True)
    want = torch.autograd.grad((expected * mix).sum(), of, allow_unused=True)
    for a, b, p in zip(got, want, of, strict=True):
        a, b = (torch.zeros_like(p) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
