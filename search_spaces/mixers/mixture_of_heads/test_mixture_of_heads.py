"""The router: which heads a token uses, by how much, and what an uneven load costs."""

from typing import Any

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

AT = Place(32, 1, 0)


def layer_with(**numbers: Any) -> Any:
    torch.manual_seed(0)
    spec = MIXERS["mixture_of_heads"](heads=8, groups=4, head_dim=4, **numbers)
    return execute(spec.plan(AT)).double()


def tokens() -> torch.Tensor:
    return torch.randn(2, 50, 32, dtype=torch.float64)


@pytest.mark.parametrize(("shared", "active"), [(1, 1), (2, 3), (4, 3)])
def test_a_token_uses_the_shared_heads_and_the_active_best(shared: int, active: int) -> None:
    router, x = layer_with(shared=shared, active=active).router, tokens()
    weights = router(x)
    assert (weights[..., :shared] > 0).all()
    used = weights[..., shared:] > 0
    assert (used.sum(dim=-1) == active).all()
    logits = router.routed(x)
    assert (
        logits[used].view(-1, active).amin(-1) > logits[~used].view(len(x) * 50, -1).amax(-1)
    ).all()


def test_heads_that_are_not_used_leave_no_trace() -> None:
    layer, x = layer_with(shared=2, active=1), tokens()
    y = layer(x)
    unused = layer.router(x)[0, -1] == 0
    with torch.no_grad():
        layer.out.weight.view(32, 8, 4)[:, unused] = 1e6
    torch.testing.assert_close(layer(x)[0, -1], y[0, -1])


def test_an_undecided_router_weighs_used_heads_as_attention_does() -> None:
    layer, x = layer_with(shared=2, active=3, balance_weight=0.5), tokens()
    with torch.no_grad():
        for weight in layer.router.parameters():
            weight.zero_()
    weights = layer.router(x)
    torch.testing.assert_close(weights.unique(), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert layer.router.balance_loss.item() == pytest.approx(0.5)

    attention = execute(MIXERS["attention"](heads=8, groups=4, head_dim=4).plan(AT)).double()
    shared = {k: v for k, v in layer.state_dict().items() if not k.startswith("router.")}
    used = (weights[0, 0] > 0).repeat_interleave(4)  # the same heads for all tokens
    shared["out.weight"] = shared["out.weight"] * used
    attention.load_state_dict(shared)
    torch.testing.assert_close(layer(x), attention(x))


def test_an_uneven_load_costs_more() -> None:
    router = layer_with(shared=2, active=1, balance_weight=1.0).router
    x = tokens().abs()
    with torch.no_grad():
        router.routed.weight.zero_()
        router.routed.weight[0] = 10.0  # every token prefers the same head
    router(x)
    assert router.balance_loss.item() == pytest.approx(6.0, rel=1e-3)  # the load of six on one


def test_following_the_balance_loss_evens_the_load() -> None:
    router, x = layer_with(shared=2, active=1, balance_weight=1.0).router, tokens().abs()
    with torch.no_grad():
        router.routed.weight[0] += 0.1
    losses = []
    for _ in range(20):
        router(x)
        losses.append(router.balance_loss.item())
        (gradient,) = torch.autograd.grad(router.balance_loss, router.routed.weight)
        with torch.no_grad():
            router.routed.weight -= 0.05 * gradient
    assert losses[0] > 1.5
    assert min(losses) < 1.2


@pytest.mark.parametrize(
    ("shared", "active", "group_weights"),
    [(0, 2, True), (0, 8, True), (1, 2, False), (3, 5, True), (3, 2, False)],
)
def test_options_equal_the_equations(shared: int, active: int, group_weights: bool) -> None:
    router = layer_with(shared=shared, active=active, group_weights=group_weights).router
    x = tokens()
    expected = torch.zeros(2, 50, 8, dtype=torch.float64)
    sides = [1.0, 1.0]
    for b in range(2):
        for t in range(50):
            if group_weights and shared:
                sides = (2 * (router.sides.weight @ x[b, t]).softmax(0)).tolist()
            probability = (router.routed.weight @ x[b, t]).softmax(0)
            for head in probability.argsort(descending=True)[:active]:
                weight = sides[1] * (8 - shared) * probability[head]
                expected[b, t, shared + head] = weight.detach()
            always = torch.ones(shared, dtype=torch.float64)
            if shared > 1:
                always = shared * (router.shared.logits.weight @ x[b, t]).softmax(0)
            expected[b, t, :shared] = sides[0] * always.detach()
    torch.testing.assert_close(router(x), expected)


def test_one_routed_head_is_no_choice() -> None:
    with pytest.raises(ValueError, match="at least two heads routed"):
        MIXERS["mixture_of_heads"](heads=4, groups=4, head_dim=4, shared=3, active=1)
