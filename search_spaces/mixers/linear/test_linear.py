"""Linear attention against dense matrices of weights, written from the equations of the README."""

import math

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import FEATURE_MAPS, MIXERS

WIDTH = 12
MAPS = {
    f"{kind}-{index}": numbers
    for kind, part in FEATURE_MAPS.items()
    for index, numbers in enumerate((part.example, *part.variants))
}
NORMALISERS = ("denominator", "output_norm", "none")


def build(*, causal: bool = True, **fields: object) -> torch.nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["linear"].model_validate({"head_dim": 4, "heads": 3, **fields})
    layer = execute(spec.plan(Place(WIDTH, 1, 0, causal))).double()
    for parameter in layer.parameters():  # nothing at its special starting value
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


def kernel_weights(q: Tensor, k: Tensor, numbers: dict, layer: torch.nn.Module, h: int) -> Tensor:
    """The weight of each key [T, S] for the queries of one head, q [T, K] and k [S, K]."""
    kind = numbers["kind"]
    width = q.shape[-1]
    dot = q @ k.T
    if kind == "identity":
        return dot
    if kind == "taylor":
        s = dot / math.sqrt(width)
        return 1 + s + s**2 / 2
    if kind == "cosine":
        time = torch.arange(len(q), dtype=q.dtype)
        falling = torch.cos(math.pi / 2 * (time[:, None] - time) / numbers["max_tokens"])
        return q.clamp(min=0) @ k.clamp(min=0).T * falling
    maps = layer.feature_map
    if kind == "favor":
        q, k = q / width**0.25, k / width**0.25
        weights = torch.zeros(len(q), len(k), dtype=q.dtype)
        for w in maps.directions:
            weights = weights + torch.outer(
                (q @ w - (q * q).sum(-1) / 2).exp(), (k @ w - (k * k).sum(-1) / 2).exp()
            )
        return weights / len(maps.directions)
    if kind == "binary_hash":
        a, b = (bits_of(x, maps, h) for x in (q, k))
        return a @ b.T + numbers.get("bits", 16) + 1
    if kind == "hedgehog":
        return spiky(q, maps.query, h, numbers) @ spiky(k, maps.key, h, numbers).T
    one = {
        "elu": lambda x: torch.where(x > 0, x + 1, x.exp()),
        "relu": lambda x: x.clamp(min=0),
        "exp": lambda x: (x * numbers.get("temperature", 1.0)).exp(),
    }[kind]
    return one(q) @ one(k).T


def spiky(x: Tensor, own: torch.nn.Module, h: int, numbers: dict) -> Tensor:
    up = (x @ own.weight[h].T + own.bias[h]).exp()
    if numbers.get("form") == "exp":
        return torch.cat((up, 1 / up), dim=-1)
    down = 1 / up
    return torch.cat((up / up.sum(-1, keepdim=True), down / down.sum(-1, keepdim=True)), dim=-1)


def bits_of(x: Tensor, maps: torch.nn.Module, h: int) -> Tensor:
    x = x / x.norm(dim=-1, keepdim=True)
    near = torch.stack([(-(x - p).square().sum(-1) / 2).exp() for p in maps.anchors[h]], dim=-1)
    soft = (near @ maps.weight[h].T + maps.bias[h]).clamp(-1, 1)
    return soft + (soft.sign() - soft).detach()


def dense(layer: torch.nn.Module, x: Tensor, fields: dict, *, causal: bool) -> Tensor:
    """One sequence [T, D], head by head."""
    heads, head_dim, value = layer.out.in_features // layer.value_dim, 4, layer.value_dim
    outputs = []
    for h in range(heads):
        rows, columns = slice(h * head_dim, (h + 1) * head_dim), slice(h * value, (h + 1) * value)
        q = layer.position((x @ layer.query.weight[rows].T)[None, None], 0)[0, 0]
        k = layer.position((x @ layer.key.weight[rows].T)[None, None], 0)[0, 0]
        if fields.get("unit_norm"):
            q, k = (y / y.norm(dim=-1, keepdim=True) * head_dim**0.25 for y in (q, k))
        weights = kernel_weights(q, k, fields["feature_map"], layer, h)
        if causal:
            weights = weights.tril()
        o = weights @ (x @ layer.value.weight[columns].T)
        normaliser = fields.get("normaliser", "denominator")
        if normaliser == "denominator":
            o = o / (weights.sum(-1, keepdim=True) + 1e-6)
        elif normaliser == "output_norm":
            mean = o.square().mean(-1, keepdim=True)
            o = o / (mean + 1e-6).sqrt() * layer.normaliser.norm.weight
        else:
            o = o / FEATURE_MAPS[fields["feature_map"]["kind"]].model_validate(
                fields["feature_map"]
            ).features(head_dim)
        outputs.append(o)
    return torch.cat(outputs, dim=-1) @ layer.out.weight.T


def check(fields: dict, *, causal: bool, time: int) -> None:
    """Values, and the gradients of the input and of every parameter."""
    layer = build(causal=causal, **fields)
    x = torch.randn(1, time, WIDTH, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(time, WIDTH, dtype=torch.float64)
    wanted = [x, *layer.parameters()]
    results = []
    for y in (layer(x)[0], dense(layer, x[0], fields, causal=causal)):
        grads = torch.autograd.grad(y, wanted, cotangent, allow_unused=True)
        results.append([y, *(torch.zeros(1) if g is None else g for g in grads)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", MAPS)
def test_every_map_equals_dense_weights(name: str, causal: bool) -> None:
    normaliser = "output_norm" if MAPS[name]["kind"] == "identity" else "denominator"
    for time in (1, 7, 33):
        fields = {"feature_map": MAPS[name], "normaliser": normaliser}
        check(fields, causal=causal, time=time)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("heads", [1, 3])
def test_every_normaliser_equals_dense_weights(normaliser: str, heads: int, causal: bool) -> None:
    for time in (1, 2, 7, 33):
        fields = {
            "feature_map": {"kind": "hedgehog"},
            "normaliser": normaliser,
            "heads": heads,
            "value_factor": 2,
            "position": {"kind": "none" if heads == 1 else "rotary"},
            "unit_norm": heads == 1,
        }
        check(fields, causal=causal, time=time)


@pytest.mark.parametrize("pieces", [(1, 1, 30), (20, 1, 11), (5, 27)])
def test_a_split_sequence_equals_the_whole(pieces: tuple[int, ...]) -> None:
    layer = build(feature_map={"kind": "cosine", "max_tokens": 40})
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


def test_random_features_average_to_the_softmax_kernel() -> None:
    torch.manual_seed(0)
    maps = execute(FEATURE_MAPS["favor"](random_features=4000).map_plan(1, 8)).double()
    q, k = torch.randn(2, 1, 1, 6, 8, dtype=torch.float64) / 4
    phi_q, phi_k = maps(q, k, 0)
    exact = (q @ k.mT / math.sqrt(8)).exp()
    torch.testing.assert_close(phi_q @ phi_k.mT, exact, rtol=0.1, atol=0.0)


def test_random_directions_are_orthogonal_in_blocks() -> None:
    torch.manual_seed(0)
    w = execute(FEATURE_MAPS["favor"](random_features=11).map_plan(1, 8)).directions
    for block in (w[:8], w[8:]):
        across = block @ block.T
        torch.testing.assert_close(across, across.diagonal().diag(), rtol=0, atol=1e-5)


def test_weights_that_may_be_negative_are_not_divided_by_their_sum() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        MIXERS["linear"](heads=1, head_dim=4, feature_map={"kind": "identity"})


def test_cosine_weights_refuse_an_input_past_their_end() -> None:
    layer = build(feature_map={"kind": "cosine", "max_tokens": 8})
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    layer(x[:, :8], state)
    with pytest.raises(ValueError, match="end at 8"):
        layer(x[:, 8:], state)
    with pytest.raises(ValueError, match="end at 8"):
        layer(x)
