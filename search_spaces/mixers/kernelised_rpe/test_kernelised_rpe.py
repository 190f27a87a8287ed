"""Sums by FFT against the dense matrix of weights."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

WIDTH, KEY, LONGEST = 12, 4, 40
CASES = [
    {"heads": 1},
    {"heads": 3, "value_factor": 2, "unit_norm": False},
    {"heads": 2, "feature_map": {"kind": "elu"}},
]


def build(*, causal: bool, **fields: object) -> torch.nn.Module:
    torch.manual_seed(0)
    given = {"head_dim": KEY, "max_tokens": LONGEST, **fields}
    spec = MIXERS["kernelised_rpe"].model_validate(given)
    layer = execute(spec.plan(Place(WIDTH, 1, 0, causal))).double()
    torch.nn.init.normal_(layer.bias)
    return layer


def dense(layer: torch.nn.Module, x: Tensor, *, causal: bool) -> Tensor:
    time = torch.arange(x.shape[1])
    back = time[:, None] - time
    c = layer.bias[:, back if causal else back + LONGEST - 1].exp()  # negative indices are masked
    c = c.tril() if causal else c
    q, k, v = (
        linear(x).unflatten(-1, (len(c), -1)).transpose(1, 2)
        for linear in (layer.query, layer.key, layer.value)
    )
    if type(layer.length).__name__ == "UnitLength":
        q, k = (y / y.norm(dim=-1, keepdim=True) * KEY**0.25 for y in (q, k))
    q, k = layer.feature_map(q, k, 0)
    weights = torch.einsum("bhif,bhjf,hij->bhij", q, k, c)
    o = weights @ v / (weights.sum(-1, keepdim=True) + 1e-6)
    return layer.out(o.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fields", CASES, ids=str)
@pytest.mark.parametrize("time", [1, 2, 7, 33, LONGEST])
def test_equals_the_dense_matrix(time: int, fields: dict, causal: bool) -> None:
    layer = build(causal=causal, **fields)
    x = torch.randn(2, time, WIDTH, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn_like(x)
    wanted = [x, *layer.parameters()]
    fast, slow = layer(x), dense(layer, x, causal=causal)
    for a, b in zip(
        (fast, *torch.autograd.grad(fast, wanted, cotangent)),
        (slow, *torch.autograd.grad(slow, wanted, cotangent)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("pieces", [(1, 1, 30), (20, 1, 11), (5, 27)])
def test_a_split_sequence_equals_the_whole(pieces: tuple[int, ...]) -> None:
    layer = build(causal=True, heads=2)
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_an_input_without_weights_for_its_distances_is_refused(causal: bool) -> None:
    layer = build(causal=causal, heads=1)
    with pytest.raises(ValueError, match="only 40 distances"):
        layer(torch.randn(1, LONGEST + 1, WIDTH, dtype=torch.float64))


def test_weights_that_may_be_negative_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        build(causal=True, heads=1, feature_map={"kind": "identity"})
