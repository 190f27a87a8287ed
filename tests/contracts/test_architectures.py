"""Whole models: cost, decoding and identity. Every instance of the catalogue is in one of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.architecture import Architecture
from tests.contracts.architectures import architecture_with
from tests.contracts.flops import counted_flops
from tests.contracts.instances import CAUSAL, CONTEXT, INSTANCES, VOCAB, Instance, assert_close

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_ids.json").read_text())
every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=repr)
every_causal = pytest.mark.parametrize("instance", CAUSAL, ids=repr)
every_golden = pytest.mark.parametrize("name", GOLDEN)


def model_of(architecture: Architecture, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    return execute(architecture.plan()).to(dtype).eval()


def tokens(time: int = CONTEXT, sequences: int = 2) -> torch.Tensor:
    return torch.randint(VOCAB, (sequences, time), generator=torch.Generator().manual_seed(2))


@every_causal
@torch.no_grad()
def test_stepwise_decoding_equals_the_forward_pass(instance: Instance) -> None:
    model = model_of(architecture_with(instance), torch.float64)
    x = tokens(40)
    state = model.empty_state()
    pieces = [x[:, :5], *x[:, 5:].split(1, dim=1)]
    assert_close(torch.cat([model(piece, state) for piece in pieces], dim=1), model(x))


@every_instance
@torch.no_grad()
def test_cost_equals_the_built_model(instance: Instance) -> None:
    architecture = architecture_with(instance)
    model, cost = model_of(architecture, torch.float32), architecture.cost(CONTEXT)
    assert cost.params == sum(p.numel() for p in model.parameters())
    x = tokens()
    assert counted_flops(lambda: model(x)) == x.numel() * cost.flops
    if not instance.causal:
        return
    state = model.empty_state()
    model(x[:, :-1], state)
    assert counted_flops(lambda: model(x[:, -1:], state)) == len(x) * cost.decode_flops
    held = sum(layer.values_held() for layer in state.layers if layer is not None)
    assert held == cost.cache_values + cost.state_values


@every_instance
def test_loss_reaches_every_parameter(instance: Instance) -> None:
    model, x = (
        model_of(architecture_with(instance), torch.float32).train(),
        tokens(sequences=8),
    )  # enough for every expert
    logits = model(x[:, :-1])  # of every token, or of the sequence
    targets = x[:, 1:] if logits.ndim == 3 else x[:, 0] % logits.shape[-1]
    loss = model.loss(x[:, :-1], targets)
    loss.backward()
    assert abs(loss.item()) < 20
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@every_golden
def test_ids_never_change(name: str) -> None:
    """An id is a key in every store and file: if this fails, a default has changed its meaning or
    a field its name. Give the field its old meaning back; do not edit the golden file."""
    golden = GOLDEN[name]
    assert Architecture.model_validate(golden["architecture"]).id == golden["id"]


@every_golden
def test_ids_do_not_depend_on_spelling(name: str) -> None:
    architecture = Architecture.model_validate(GOLDEN[name]["architecture"])
    spelled_out = json.loads(architecture.model_dump_json())
    assert Architecture.model_validate(spelled_out).id == architecture.id
    backwards = {key: spelled_out[key] for key in reversed(spelled_out)}
    assert Architecture.model_validate(backwards).id == architecture.id


def test_ids_differ_between_architectures() -> None:
    found = {architecture_with(instance) for instance in INSTANCES}
    assert len({architecture.id for architecture in found}) == len(found)
    assert len({golden["id"] for golden in GOLDEN.values()}) == len(GOLDEN)
