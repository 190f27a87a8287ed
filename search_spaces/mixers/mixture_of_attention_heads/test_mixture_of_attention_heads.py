"""Routing and attention against dense sums over all experts; the losses against their formulas."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def layer_with(causal: bool = True, **numbers: Any) -> Any:
    torch.manual_seed(0)
    settings = {"experts": 5, "top_k": 2, "heads": 2, "head_dim": 4, "position": {"kind": "none"}}
    spec = MIXERS["mixture_of_attention_heads"](**{**settings, **numbers})
    return execute(spec.plan(Place(16, 1, 0, causal))).double()


def weights_of(scores: Tensor, stick: bool) -> Tensor:
    """Of the keys up to the query, the latest last: [S] -> [S]"""
    if not stick:
        return scores.softmax(0)
    share = scores.sigmoid()
    left = [(1 - share[s + 1 :]).prod() for s in range(len(share))]
    return share * torch.stack(left)


def by_the_equations(layer: Any, x: Tensor, causal: bool, top_k: int, stick: bool) -> Tensor:
    """One sequence [T, D], each token by itself."""
    experts, width = len(layer.query.weight), layer.head_dim
    outputs = []
    for t, token in enumerate(x):
        seen = x[: t + 1] if causal else x
        probability = layer.router.logits(token).softmax(0)
        total = torch.zeros_like(token)
        for expert in sorted(range(experts), key=lambda e: -probability[e].item())[:top_k]:
            found = []
            for head in range(layer.heads):
                rows = slice(head * width, (head + 1) * width)
                q = token @ layer.query.weight[expert][:, rows]
                keys, values = seen @ layer.key.weight[rows].T, seen @ layer.value.weight[rows].T
                found.append(weights_of(keys @ q / width**0.5, stick) @ values)
            out = torch.cat(found) @ layer.out.weight[expert]
            total = total + experts / top_k * probability[expert] * out
        outputs.append(total)
    return torch.stack(outputs)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("hidden", [0, 6])
@pytest.mark.parametrize(("heads", "top_k"), [(1, 1), (1, 3), (3, 2), (2, 5)])
def test_equals_the_equations(causal: bool, hidden: int, heads: int, top_k: int) -> None:
    layer = layer_with(causal, heads=heads, top_k=top_k, router_hidden=hidden)
    compare(layer, causal, top_k, stick=False)


@pytest.mark.parametrize(("heads", "top_k"), [(1, 1), (2, 3)])
def test_equals_the_equations_with_stick_breaking(heads: int, top_k: int) -> None:
    layer = layer_with(heads=heads, top_k=top_k, normaliser={"kind": "stick_breaking"})
    compare(layer, True, top_k, stick=True)


def compare(layer: Any, causal: bool, top_k: int, stick: bool) -> None:
    for time in (1, 2, 7, 33):
        x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
        wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
        y, expected = layer(x[None])[0], by_the_equations(layer, x, causal, top_k, stick)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
        found = torch.autograd.grad((y * towards).sum(), wanted)
        right = torch.autograd.grad((expected * towards).sum(), wanted)
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-10)


def losses(balance: str, logits: Tensor, top_k: int) -> float:
    """What a router asks for that gives these logits [N, E]."""
    router = layer_with(
        experts=logits.shape[-1], top_k=top_k, balance=balance, balance_weight=0.5
    ).router
    router.logits = torch.nn.Identity()
    router(logits[None])
    return router.balance_loss.item() / 0.5


def test_mutual_information_is_best_where_sure_tokens_use_all_experts() -> None:
    sure = 1000.0 * torch.eye(4, dtype=torch.float64)
    assert losses("mutual_information", sure, 1) == pytest.approx(-math.log(4))
    assert losses("mutual_information", 0 * sure, 1) == pytest.approx(0.0, abs=1e-12)
    assert losses("mutual_information", sure[:1].expand(9, -1), 1) == pytest.approx(0, abs=1e-12)


def test_losses_equal_their_formulas() -> None:
    logits = torch.randn(9, 4, dtype=torch.float64)
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    mean = p.mean(0)
    entropies = [-sum(v * math.log(v) for v in row) for row in (*p.tolist(), mean.tolist())]
    information = sum(entropies[:-1]) / 9 - entropies[-1]
    assert losses("mutual_information", logits, 2) == pytest.approx(information)
    passes = [0] * 4
    for row in logits.tolist():
        for expert in sorted(range(4), key=lambda e: -row[e])[:2]:
            passes[expert] += 1
    switch = 4 * sum(n / 18 * m for n, m in zip(passes, mean.tolist(), strict=True))
    z = sum(math.log(sum(math.exp(v) for v in row)) ** 2 for row in logits.tolist()) / 9
    assert losses("switch_and_z", logits, 2) == pytest.approx(switch + 0.1 * z)
