"""Attention and its options against a dense reference written head by head from the equations."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import Infeasible
from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.attention.module import Attention as PlainModule

Attention: Any = MIXERS["attention"]
DIM = 12
Weights = dict[str, Tensor]
HEADS = ({"heads": 1, "groups": 1}, {"heads": 4, "groups": 2})
ONE_GROUP = ({"heads": 1, "groups": 1}, {"heads": 3, "groups": 1})
GATES: tuple[dict[str, Any], ...] = (
    {},
    {"grain": "elementwise", "shared": True, "bias": 0.5},
    {"shared": True},
    *({"at": at} for at in ("query", "key", "value", "out")),
    *(
        {"at": at, "grain": "elementwise", "bias": -1.0}
        for at in ("heads", "query", "key", "value", "out")
    ),
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": True},
    {"qkv_bias": True},
    {"qk_norm": "head"},
    {"qk_norm": "width"},
    {"scale": 0.3},
    {"temperature": "token"},
    {"temperature": "position"},
    {"temperature": "token_and_position", "value_temperature": True, "qk_norm": "head"},
    {"value_temperature": True},
    *({"gate": {"kind": "sigmoid", **gate}} for gate in GATES),
    {"complex_phase": True, "position": {"kind": "none"}},
    {"complex_phase": True, "position": {"kind": "none"}, "fold": 2, "temperature": "token"},
    {"fold": 2},
    {"fold": 3, "bias": True, "scale": 0.2, "gate": {"kind": "sigmoid"}},
)
ONE_GROUP_OPTIONS: tuple[dict[str, Any], ...] = (
    *(
        {"projections": projections, **more}
        for projections in ("collapsed", "symmetric", "random", "random_biased")
        for more in ({}, {"values": False, "position": {"kind": "none"}})
    ),
    {
        "projections": "collapsed",
        "values": False,
        "gate": {"kind": "sigmoid", "at": "value"},
        "temperature": "token_and_position",
        "value_temperature": True,
        "scale": 0.4,
    },
    {"projections": "symmetric", "qk_norm": "width", "gate": {"kind": "sigmoid", "at": "out"}},
    {"projections": "collapsed", "fold": 2},
)


def _with_width(heads: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Without values, a head has no width of its own."""
    own = heads if options.get("values", True) else {**heads, "head_dim": 64}
    return {**own, **options}


CASES = [{**h, **o} for h in HEADS for o in OPTIONS]
CASES += [_with_width(h, o) for h in ONE_GROUP for o in ONE_GROUP_OPTIONS]


def layer_of(numbers: dict[str, Any], causal: bool) -> tuple[Any, Any]:
    """With weights that leave no option at the value where it does nothing."""
    torch.manual_seed(0)
    spec = Attention.model_validate({"head_dim": 4, **numbers})
    layer = execute(spec.plan(Place(DIM, 1, 0, causal))).double()
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if "before" in name or "bias" in name:
                weight.copy_(torch.randn_like(weight))
    return spec, layer


def weights_of(layer: nn.Module) -> Weights:
    """Parameters and buffers by name, the same for plain, staged and folded attention."""
    named = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    named = {name.removeprefix("attention."): value for name, value in named.items()}
    return {name.removeprefix("project."): value for name, value in named.items()}


def only(weights: Weights, *endings: str) -> Tensor | None:
    """The one tensor whose name ends so, or None."""
    found = [value for name, value in weights.items() if name.endswith(endings)]
    assert len(found) < 2
    return found[0] if found else None


def reference(spec: Any, layer: nn.Module, x: Tensor, causal: bool) -> Tensor:
    """Piece by piece of a sequence [T, D]; see the README for the equations."""
    weights = weights_of(layer)
    time = len(x)
    x = x.reshape(time * spec.fold, -1)
    place = torch.arange(len(x))
    token = place // spec.fold
    visible = token[None, :] <= token[:, None] if causal else torch.ones(len(x), len(x)) > 0
    queries, keys, values = heads_of(spec, weights, x)
    queries, keys = normed(spec, weights, queries, keys)
    queries = gated(spec, weights, "query", queries, x)
    keys = gated(spec, weights, "key", keys, x)
    values = gated(spec, weights, "value", values, x)
    queries = tempered(spec, weights, queries, causal)
    if spec.value_temperature:
        term = only(weights, "term.weight")
        assert term is not None
        values = [v * (1 + (v @ w[0]).tanh())[:, None] for v, w in zip(values, term, strict=True)]
    outputs = []
    for head, query in enumerate(queries):
        group = head * spec.groups // spec.heads
        q, k = turned(spec, query), turned(spec, keys[group])
        if spec.complex_phase:
            shift = only(weights, "shift")
            assert shift is not None
            q, k = phased(weights, q, group, shift[head, 0, 0]), phased(weights, k, group)
        scale = spec.scale or q.shape[-1] ** -0.5
        scores = (scale * q @ k.T).exp() * visible
        outputs.append(scores / scores.sum(-1, keepdim=True) @ values[group])
    outputs = gated(spec, weights, "heads", outputs, x)
    if spec.values:
        out = only(weights, "out.weight")
        assert out is not None
        y = torch.cat(outputs, dim=-1) @ out.T
        bias = only(weights, "out.bias")
        y = y if bias is None else y + bias
    else:
        y = torch.stack(outputs).mean(0)
    (y,) = gated(spec, weights, "out", [y], x)
    return y.reshape(time, -1)


def heads_of(spec: Any, weights: Weights, x: Tensor) -> tuple[list[Tensor], ...]:
    def through(name: str, count: int) -> list[Tensor]:
        y = x @ weights[f"{name}.weight"].T
        if f"{name}.bias" in weights:
            y = y + weights[f"{name}.bias"]
        return list(y.chunk(count, dim=-1))

    if spec.projections == "separate":
        return through("query", spec.heads), *(through(n, spec.groups) for n in ("key", "value"))
    values = through("value", 1) if spec.values else [x]
    if spec.projections == "symmetric":
        lowers = []
        for entries in weights["query.entries"]:
            rows = entries.split(tuple(range(1, x.shape[-1] + 1)))
            lowers.append(
                torch.stack(
                    [torch.cat((row, row.new_zeros(x.shape[-1] - len(row)))) for row in rows]
                )
            )
        return [x @ (lower @ lower.T) for lower in lowers], [x], values
    product = only(weights, "query.product", "query.product.weight")
    assert product is not None
    return [x @ matrix.T for matrix in product.chunk(spec.heads)], [x], values


def normed(
    spec: Any, weights: Weights, queries: list[Tensor], keys: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    def rms(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    if spec.qk_norm == "none":
        return queries, keys
    query, key = weights["before.0.query.weight"], weights["before.0.key.weight"]
    if spec.qk_norm == "head":
        return [rms(q, query) for q in queries], [rms(k, key) for k in keys]
    return (
        list(rms(torch.cat(queries, -1), query).chunk(len(queries), -1)),
        list(rms(torch.cat(keys, -1), key).chunk(len(keys), -1)),
    )


def gated(spec: Any, weights: Weights, what: str, heads: list[Tensor], x: Tensor) -> list[Tensor]:
    gate: Any = spec.gate
    if gate.kind == "none" or gate.at != what:
        return heads
    weight, bias = only(weights, "gate.logits.weight"), only(weights, "gate.logits.bias")
    assert weight is not None
    logits = x @ weight.T + (0 if bias is None else bias)
    factors = 1 / (1 + (-logits).exp())
    if gate.shared:
        return [head * factors for head in heads]
    return [head * part for head, part in zip(heads, factors.chunk(len(heads), -1), strict=True)]


def tempered(spec: Any, weights: Weights, queries: list[Tensor], causal: bool) -> list[Tensor]:
    token = next((w for n, w in weights.items() if "terms" in n and n.endswith("weight")), None)
    alpha = only(weights, "alpha")
    found = []
    for head, q in enumerate(queries):
        seen = torch.arange(1, len(q) + 1) if causal else torch.full((len(q),), len(q))
        inverse = torch.ones(len(q), dtype=q.dtype)
        if token is not None:
            inverse = inverse + (q @ token[head, 0]).tanh()
        if alpha is not None:
            inverse = inverse + seen.log() / (1 + (-alpha[head, 0, 0]).exp())
        found.append(q * inverse[:, None])
    return found


def turned(spec: Any, x: Tensor) -> Tensor:
    """Rotary positions as a product of complex numbers."""
    if spec.position.kind == "none":
        return x
    half = x.shape[-1] // 2
    step = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.outer(torch.arange(len(x), dtype=torch.float32), step).double()
    pairs = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((pairs.real, pairs.imag), dim=-1)


def phased(weights: Weights, x: Tensor, group: int, shift: Tensor | float = 0.0) -> Tensor:
    scale, frequency = only(weights, "before.0.scale", "before.1.scale"), only(weights, "frequency")
    assert scale is not None
    assert frequency is not None
    half = x.shape[-1] // 2
    number = torch.complex(x[:, :half], x[:, half:])
    place = torch.arange(len(x))[:, None]
    angle = scale[group] * number.angle() + frequency[group] * place + shift
    turned = torch.polar(number.abs(), angle)
    return torch.cat((turned.real, turned.imag), dim=-1)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("numbers", CASES, ids=str)
def test_values_and_gradients_equal_the_reference(numbers: dict[str, Any], causal: bool) -> None:
    spec, layer = layer_of(numbers, causal)
    learned = [weight for weight in layer.parameters() if weight.requires_grad]
    for time in (1, 2, 7):
        x = torch.randn(2, time, DIM, dtype=torch.float64, requires_grad=True)
        y = layer(x)
        expected = torch.stack([reference(spec, layer, sequence, causal) for sequence in x])
        # angles, and logarithms of positions, are float32
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-7)
        direction = torch.randn_like(y)
        slopes = torch.autograd.grad((y * direction).sum(), [x, *learned])
        wanted = torch.autograd.grad((expected * direction).sum(), [x, *learned])
        torch.testing.assert_close(slopes, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("numbers", [CASES[0], CASES[-1], {**HEADS[1], "fold": 3}], ids=str)
def test_a_long_sequence_equals_the_reference(numbers: dict[str, Any]) -> None:
    spec, layer = layer_of(numbers, causal=True)
    x = torch.randn(1, 33, DIM, dtype=torch.float64)
    torch.testing.assert_close(
        layer(x)[0], reference(spec, layer, x[0], True), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("fold", [2, 3])
def test_a_piece_sees_its_whole_token_and_no_later_one(fold: int) -> None:
    _, layer = layer_of({**HEADS[1], "fold": fold}, causal=True)
    x = torch.randn(1, 5, DIM, dtype=torch.float64, requires_grad=True)
    first_piece = layer(x)[0, 2, : DIM // fold].sum()
    (slope,) = torch.autograd.grad(first_piece, x)
    assert (slope[0, :3].abs() > 0).all()  # the last channels of its own token, too
    assert (slope[0, 3:] == 0).all()


def test_a_fold_that_does_not_divide_the_width_is_refused() -> None:
    spec = Attention(heads=2, groups=1, head_dim=4, fold=5)
    for asked in (spec.plan, spec.memory, lambda at: spec.ops(at, 8)):
        with pytest.raises(Infeasible, match="fold must divide the model width; 5 does not 12"):
            asked(Place(DIM, 1, 0))


def test_random_projections_are_frozen() -> None:
    _, layer = layer_of(
        _with_width(ONE_GROUP[1], {"projections": "random", "values": False}), causal=True
    )
    assert not list(layer.parameters())
    (product,) = layer.state_dict().values()
    assert product.shape == (3 * DIM, DIM)


def test_a_biased_random_projection_is_the_identity_plus_noise() -> None:
    torch.manual_seed(0)
    spec = Attention(heads=400, groups=1, head_dim=2, projections="random_biased")
    product = execute(spec.plan(Place(DIM, 1, 0))).project.query.product.view(400, DIM, DIM)
    torch.testing.assert_close(product.mean(0), torch.eye(DIM), rtol=0, atol=0.08)
    assert product.var(0).mean().item() == pytest.approx(1 / DIM, rel=0.05)


def test_symmetric_projections_find_tokens_equally_similar_both_ways() -> None:
    numbers = {**ONE_GROUP[1], "projections": "symmetric", "position": {"kind": "none"}}
    _, layer = layer_of(numbers, causal=False)
    x = torch.randn(1, 6, DIM, dtype=torch.float64)
    q, k, _ = layer.project(x)
    torch.testing.assert_close(q @ k.mT, (q @ k.mT).mT)


def test_options_start_at_plain_attention() -> None:
    """But for a position temperature, which starts near it."""
    torch.manual_seed(0)
    plain = {**HEADS[1], "head_dim": 4}
    first = execute(Attention.model_validate(plain).plan(Place(DIM, 1, 0)))
    assert isinstance(first, PlainModule)
    torch.manual_seed(0)
    options = {"temperature": "token", "value_temperature": True, "scale": 0.5}
    second = execute(Attention.model_validate({**plain, **options}).plan(Place(DIM, 1, 0)))
    x = torch.randn(2, 7, DIM)
    torch.testing.assert_close(second(x), first(x))


def test_a_complex_phase_starts_as_rotary_positions() -> None:
    torch.manual_seed(0)
    plain = {**HEADS[1], "head_dim": 4}
    first = execute(Attention.model_validate(plain).plan(Place(DIM, 1, 0))).double()
    torch.manual_seed(0)
    options = {"complex_phase": True, "position": {"kind": "none"}}
    second = execute(Attention.model_validate({**plain, **options}).plan(Place(DIM, 1, 0))).double()
    x = torch.randn(2, 7, DIM, dtype=torch.float64)
    torch.testing.assert_close(second(x), first(x), rtol=1e-5, atol=1e-6)
    x = torch.zeros(1, 3, DIM, dtype=torch.float64, requires_grad=True)  # zero has no angle
    (slope,) = torch.autograd.grad(second(x).sum(), x)
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"projections": "collapsed", "groups": 2}, "groups must be 1"),
        ({"projections": "symmetric", "groups": 1, "bias": True}, "go with separate projections"),
        ({"values": False}, "separate projections have values"),
        ({"bias": True, "qkv_bias": True}, "exclude each other"),
        ({"complex_phase": True}, "position must be none"),
        ({"fold": 2, "scope": {"kind": "window", "window": 4}}, "goes with the scope everything"),
    ],
)
def test_options_that_do_not_go_together_are_refused(numbers: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Attention.model_validate({"heads": 4, "groups": 4, "head_dim": 4, **numbers})


@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("position", ["none", "rotary"])
def test_a_position_temperature_counts_tokens_when_decoding(fold: int, position: str) -> None:
    numbers = {"temperature": "position", "fold": fold, "position": {"kind": position}}
    _, layer = layer_of({**HEADS[1], **numbers}, causal=True)
    x = torch.randn(1, 9, DIM, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split([4, 1, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-9, atol=1e-9)
    assert math.isclose(state.length, 9 * fold)
