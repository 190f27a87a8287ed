"""Normalisers against their equations, one row or one entry at a time, in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import NORMALISERS

Row = Callable[[Tensor], Tensor]


def softmax_row(a: Tensor) -> Tensor:
    return a.exp() / a.exp().sum()


def clipped_row(alpha: float, zeta: float) -> Row:
    def row(a: Tensor) -> Tensor:
        gamma = -alpha / len(a)
        return ((zeta - gamma) * softmax_row(a) + gamma).clip(0, 1)

    return row


def capped_row(cap: float) -> Row:
    return lambda a: softmax_row(cap * (a / cap).tanh())


def sigmoid_row(bias: float | None) -> Row:
    return lambda a: 1 / (1 + (-(a + (-math.log(len(a)) if bias is None else bias))).exp())


def power_row(power: int) -> Row:
    return lambda a: a**power / (a**power).sum()


def relu_row(a: Tensor) -> Tensor:
    return a.clip(min=0) / len(a)


def stick_row(a: Tensor) -> Tensor:
    left, shares = torch.ones((), dtype=a.dtype), []
    for logit in reversed(a.unbind()):  # the nearest key first
        share = 1 / (1 + (-logit).exp())
        shares.append(left * share)
        left = left * (1 - share)
    return torch.stack(shares[::-1])


ROWS: dict[str, tuple[dict[str, Any], Row]] = {
    "softmax": ({"kind": "softmax"}, softmax_row),
    "clipped": ({"kind": "clipped_softmax", "alpha": 0.8, "zeta": 1.03}, clipped_row(0.8, 1.03)),
    "clipped, default": ({"kind": "clipped_softmax"}, clipped_row(1.0, 1.0)),
    "not clipped": ({"kind": "clipped_softmax", "alpha": 0.0}, softmax_row),
    "capped": ({"kind": "soft_cap", "cap": 1.5}, capped_row(1.5)),
    "sigmoid by count": ({"kind": "sigmoid"}, sigmoid_row(None)),
    "sigmoid, fixed": (
        {"kind": "sigmoid", "bias": "fixed", "tokens": 9},
        sigmoid_row(-math.log(9)),
    ),
    "sigmoid, learned": (  # which is drawn in float32
        {"kind": "sigmoid", "bias": "learned", "tokens": 9},
        sigmoid_row(torch.tensor(-math.log(9)).item()),
    ),
    "sigmoid alone": ({"kind": "sigmoid", "bias": "none"}, sigmoid_row(0.0)),
    "squares": ({"kind": "power"}, power_row(2)),
    "sixth powers": ({"kind": "power", "power": 6}, power_row(6)),
    "relu": ({"kind": "relu"}, relu_row),
    "stick": ({"kind": "stick_breaking"}, stick_row),
}
WINDOW = 4


def built(numbers: dict[str, Any], causal: bool = True) -> Any:
    spec = NORMALISERS[numbers["kind"]].model_validate(numbers)
    return execute(spec.weights_plan(Place(16, 1, 0, causal), heads=2)).double()


def scores_of(heads: int, time: int) -> Tensor:
    torch.manual_seed(time)
    return 2 * torch.randn(2, heads, time, time, dtype=torch.float64)


def seen(pattern: str, time: int) -> Tensor:
    everything = torch.ones(time, time, dtype=torch.bool)
    return {
        "all": everything,
        "earlier": everything.tril(),
        "window": everything.tril().triu(1 - WINDOW),
        "one row empty": everything.tril() & (torch.arange(time) < time - 1)[:, None],
    }[pattern]


def by_rows(row: Row, scores: Tensor, visible: Tensor) -> Tensor:
    weights = torch.zeros_like(scores)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in scores.shape[:3])).tolist():
        keys = visible[index[2]]
        if keys.any():
            where = (*(torch.tensor(i) for i in index), keys)
            weights = weights.index_put(where, row(scores[tuple(index)][keys]))
    return weights


def assert_same(actual: Tensor, expected: Tensor, scores: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)
    direction = torch.randn_like(expected)
    (slope,) = torch.autograd.grad((actual * direction).sum(), scores)
    (slope_expected,) = torch.autograd.grad((expected * direction).sum(), scores)
    torch.testing.assert_close(slope, slope_expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    ("heads", "time", "pattern"),
    [(1, 1, "earlier"), (2, 2, "all"), (2, 7, "one row empty"), (1, 13, "window"), (1, 13, "all")],
)
def test_rows_equal_the_equation(name: str, heads: int, time: int, pattern: str) -> None:
    numbers, row = ROWS[name]
    scores, visible = scores_of(heads, time).requires_grad_(), seen(pattern, time)
    assert_same(built(numbers)(scores, visible), by_rows(row, scores, visible), scores)


def test_a_learned_bias_is_learned() -> None:
    sigmoid = built({"kind": "sigmoid", "bias": "learned", "tokens": 9})
    scores, visible = scores_of(2, 5), seen("earlier", 5)
    weights = sigmoid(scores, visible)
    weights.sum().backward()
    slope = (weights * (1 - weights) * visible).sum()  # of a sum of sigmoids
    torch.testing.assert_close(sigmoid.bias.grad, slope.detach().unsqueeze(0))


@pytest.mark.parametrize("steps", [2, 3, 6])
@pytest.mark.parametrize(("time", "pattern"), [(1, "all"), (2, "all"), (7, "all"), (13, "window")])
def test_sinkhorn_divides_rows_and_columns_in_turn(steps: int, time: int, pattern: str) -> None:
    scores, visible = scores_of(2, time).requires_grad_(), seen(pattern, time)
    visible = visible | visible.mT  # an encoder's window
    expected = scores.exp() * visible
    for step in range(steps):
        expected = expected / expected.sum(-1 if step % 2 == 0 else -2, keepdim=True)
    assert_same(
        built({"kind": "sinkhorn", "steps": steps}, False)(scores, visible), expected, scores
    )


def test_many_steps_of_sinkhorn_are_doubly_stochastic() -> None:
    weights = built({"kind": "sinkhorn", "steps": 100}, False)(scores_of(2, 9), seen("all", 9))
    ones = torch.ones(2, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(weights.sum(-1), ones, rtol=1e-4, atol=0)
    torch.testing.assert_close(weights.sum(-2), ones, rtol=1e-4, atol=0)


def test_rows_that_sinkhorn_does_not_see_are_zero() -> None:
    scores, visible = scores_of(1, 6).requires_grad_(), seen("one row empty", 6)
    weights = built({"kind": "sinkhorn"}, False)(scores, visible)
    assert (weights[..., ~visible] == 0).all()
    (slope,) = torch.autograd.grad(weights.square().sum(), scores)
    assert slope.isfinite().all()


def orthogonal_factor(matrix: Tensor) -> Tensor:
    """By Gram and Schmidt, a column at a time."""
    columns: list[Tensor] = []
    for column in matrix.unbind(-1):
        for other in columns:
            column = column - (other @ column) * other
        columns.append(column / column.norm())
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize("time", [1, 2, 7, 13])
def test_qr_squares_the_orthogonal_factor(time: int) -> None:
    scores, visible = scores_of(1, time).requires_grad_(), seen("all", time)
    one = torch.eye(time, dtype=torch.float64)
    expected = torch.stack([orthogonal_factor(one + a[0]).square()[None] for a in scores])
    weights = built({"kind": "qr_squared"}, False)(scores, visible)
    assert_same(weights, expected, scores)
    for axis in (-1, -2):
        torch.testing.assert_close(weights.sum(axis), torch.ones_like(weights[..., 0]))


@pytest.mark.parametrize("kind", NORMALISERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_large_scores_stay_finite(kind: str, dtype: torch.dtype) -> None:
    normaliser = built(NORMALISERS[kind].example, NORMALISERS[kind].families[0] == "causal_lm")
    scores = (100 * scores_of(2, 9)).to(dtype).requires_grad_()
    weights = normaliser.to(dtype)(scores, seen("earlier", 9))
    assert weights.dtype == dtype
    assert weights.isfinite().all()
    (slope,) = torch.autograd.grad(weights.float().square().sum(), scores)
    assert slope.isfinite().all()


def test_what_sees_the_future_is_for_encoders() -> None:
    assert NORMALISERS["sinkhorn"].families == ("encoder",)
    assert NORMALISERS["qr_squared"].families == ("encoder",)
    assert NORMALISERS["stick_breaking"].families == ("causal_lm",)
