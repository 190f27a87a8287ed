"""Mixture of experts and nested FFNs against plain loops and plain models."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import NotFound
from nas.plan import execute
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import DENSE_FFNS, FFNS
from nas.search_spaces.ffns.experts.spec import Experts
from nas.search_spaces.ffns.nested.spec import Nested
from nas.search_spaces.nesting import at_prefix, prefix_count, slice_weights
from nas.search_spaces.space import SearchSpace
from tests.spaces.samples import ATTENTION, space

AT = Place(dim=16, depth=2, layer=0)


def experts(**changed: Any) -> nn.Module:
    torch.manual_seed(0)
    given = {"experts": 4, "top_k": 2, "expert": {"kind": "swiglu", "hidden": 8}} | changed
    built: nn.Module = execute(Experts.model_validate(given).plan(AT))
    return built


def token_by_token(layer: Any, x: Tensor) -> Tensor:
    """The definition: softmax over all experts, the best K renormalised."""
    rows = []
    for token in x.flatten(0, -2):
        probability = layer.router(token).softmax(-1)
        best = probability.topk(layer.top_k)
        gates = best.values / best.values.sum()
        passes = zip(gates, best.indices.tolist(), strict=True)
        rows.append(sum(gate * layer.experts[index](token) for gate, index in passes))
    return torch.stack(rows).view_as(x)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_grouped_experts_equal_the_loop_over_tokens(top_k: int) -> None:
    layer = experts(top_k=top_k)
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(layer(x), token_by_token(layer, x))


def test_no_token_is_dropped_when_all_want_the_same_expert() -> None:
    layer: Any = experts(top_k=1)
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[2] = 1.0
    x = torch.rand(1, 50, 16)
    torch.testing.assert_close(layer(x), layer.experts[2](x))


def test_shared_experts_take_every_token() -> None:
    layer: Any = experts(shared=2)
    x = torch.randn(1, 5, 16)
    expected = token_by_token(layer.routed, x) + layer.shared[0](x) + layer.shared[1](x)
    torch.testing.assert_close(layer(x), expected)


def test_balance_loss_is_the_weight_when_even_and_more_when_not() -> None:
    layer: Any = experts(top_k=1, balance_weight=0.5)
    x = torch.eye(16)[:4].repeat(3, 1)[None]  # four kinds of token, equally often
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[:, :4] = 20.0 * torch.eye(4)
    layer(x)
    assert layer.balance_loss.item() == pytest.approx(0.5, rel=1e-3)
    layer(x[:, :1])  # one kind only
    assert layer.balance_loss.item() == pytest.approx(0.5 * 4, rel=1e-3)


def test_every_chosen_expert_and_the_router_get_a_gradient() -> None:
    layer: Any = experts(top_k=1, balance_weight=0.0)
    layer(torch.randn(4, 32, 16)).square().sum().backward()
    assert all(weight.grad is not None for weight in layer.experts.parameters())
    with_two: Any = experts(top_k=2, balance_weight=0.0)
    with_two(torch.randn(4, 32, 16)).square().sum().backward()
    assert with_two.router.weight.grad.abs().sum() > 0


def test_the_balance_loss_reaches_the_router() -> None:
    layer: Any = experts(top_k=1, balance_weight=1.0)
    layer(torch.randn(4, 32, 16))
    layer.balance_loss.backward()
    assert layer.router.weight.grad.abs().sum() > 0


def test_active_parameters_are_those_that_one_token_uses() -> None:
    layer: Any = experts(shared=1)
    layer(torch.randn(1, 1, 16)).sum().backward()
    part = Experts.model_validate(
        {"experts": 4, "top_k": 2, "shared": 1, "expert": {"kind": "swiglu", "hidden": 8}}
    )
    used = sum(weight.numel() for weight in layer.parameters() if weight.grad is not None)
    assert part.cost(AT, 1).active_params == used
    assert part.cost(AT, 1).params == sum(weight.numel() for weight in layer.parameters())


# Nested ----------------------------------------------------------------------------------------


def architecture(ffn: dict[str, Any], **changed: Any) -> Architecture:
    return SearchSpace.model_validate(
        space(dim=32, depth=3, vocab=61, ffn=ffn, **changed)
    ).example()


def build(model: Architecture) -> Any:
    torch.manual_seed(0)
    return execute(model.plan())


def use(model: Any, index: int) -> None:
    for module in model.modules():
        if hasattr(module, "set_prefix"):
            module.set_prefix(index)


@pytest.mark.parametrize("kind", DENSE_FFNS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block", ["sequential", "parallel"])
def test_a_sliced_plain_model_equals_the_nested_one(kind: str, bias: bool, block: str) -> None:
    ffn = {"kind": kind, "hidden": 40, "bias": bias}
    if "bias" not in DENSE_FFNS[kind].model_fields:
        del ffn["bias"]
    nested = architecture({"kind": "nested", "ffn": ffn}, block={"kind": block})
    model, tokens = build(nested), torch.randint(61, (2, 12))
    sizes = []
    for index in range(prefix_count(nested)):
        use(model, index)
        plain = at_prefix(nested, index)
        alone = execute(plain.plan())
        alone.load_state_dict(slice_weights(model.state_dict(), nested, index))
        torch.testing.assert_close(alone(tokens), model(tokens))
        sizes.append(plain.cost(1).params)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == nested.cost(1).params


def test_prefixes_differ_and_the_default_is_the_full_width() -> None:
    model = build(architecture(FFNS["nested"].example))
    tokens = torch.randint(61, (1, 8))
    default = model(tokens)
    outputs = []
    for index in range(3):
        use(model, index)
        outputs.append(model(tokens))
    assert torch.equal(outputs[2], default)
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


def test_a_prefix_trains_its_own_units_only() -> None:
    part = Nested.model_validate({"ffn": {"kind": "gelu", "hidden": 40}})
    layer: Any = execute(part.plan(AT))
    layer.set_prefix(0)
    layer(torch.randn(3, 16)).square().sum().backward()
    up, down = layer.ffn.up.weight.grad, layer.ffn.down.weight.grad
    assert up[:10].abs().sum() > 0
    assert up[10:].abs().sum() == 0
    assert down[:, 10:].abs().sum() == 0


def test_layers_with_fewer_prefixes_stay_at_full_width() -> None:
    nested = {"kind": "nested", "ffn": {"kind": "gelu", "hidden": 40}}
    parts = [{**nested, "prefixes": [0.5, 1.0]}, {**nested, "prefixes": [0.25, 0.5, 0.75, 1.0]}]
    mixed = architecture({"kind": "repeat", "parts": [*parts, {"kind": "swiglu", "hidden": 8}]})
    assert prefix_count(mixed) == 4
    hidden = [[layer.ffn.hidden for layer in at_prefix(mixed, i).layers] for i in range(4)]
    assert hidden == [[20, 10, 8], [40, 20, 8], [40, 30, 8], [40, 40, 8]]
    model, tokens = build(mixed), torch.randint(61, (1, 8))
    use(model, 2)
    alone = execute(at_prefix(mixed, 2).plan())
    alone.load_state_dict(slice_weights(model.state_dict(), mixed, 2))
    torch.testing.assert_close(alone(tokens), model(tokens))


def test_without_nested_parts_there_is_one_prefix_and_it_changes_nothing() -> None:
    plain = architecture({"kind": "gelu", "hidden": 40})
    weights = build(plain).state_dict()
    assert prefix_count(plain) == 1
    assert at_prefix(plain, 0).id == plain.id
    assert slice_weights(weights, plain, 0).keys() == weights.keys()


@pytest.mark.parametrize(("index", "has"), [(3, "prefixes 0 to 2"), (-1, "prefixes 0 to 2")])
def test_a_prefix_that_does_not_exist(index: int, has: str) -> None:
    nested = architecture(FFNS["nested"].example)
    for function in (lambda: at_prefix(nested, index), lambda: slice_weights({}, nested, index)):
        with pytest.raises(NotFound, match=has):
            function()


def test_prefixes_follow_a_hidden_width_that_is_searched() -> None:
    hidden = {"times": {"choice": [1, 2, 4]}, "of": "dim"}
    ffn = {"kind": "nested", "ffn": {"kind": "gelu", "hidden": hidden}}
    made = SearchSpace.model_validate(space(mixer=ATTENTION, ffn=ffn))
    units = {made.example(seed).layers[0].ffn.units for seed in range(30)}
    assert units == {(16, 32, 64), (32, 64, 128), (64, 128, 256)}
