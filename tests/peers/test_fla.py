"""Operators and parameter counts against the package flash-linear-attention, where it is installed.

Its naive functions compute in float32 on the CPU; its models are built without weights.
"""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.published import published

pytest.importorskip("fla")

HEADS, KEY, VALUE = 3, 8, 12
TIMES = [1, 7, 64, 100]


def naive(op: str, name: str) -> Callable[..., Any]:
    """A function of the peer."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"fla.ops.{op}.naive"), name)
    return function


class Inputs:
    """Queries, unit keys, values, gates and betas [B, H, T, ...] in float64."""

    def __init__(self, time: int) -> None:
        torch.manual_seed(0)
        shape = (2, HEADS, time)
        self.q = torch.randn(*shape, KEY, dtype=torch.float64)
        self.k = torch.nn.functional.normalize(
            torch.randn(*shape, KEY, dtype=torch.float64), dim=-1
        )
        self.v = torch.randn(*shape, VALUE, dtype=torch.float64)
        self.gate = -torch.rand(*shape, dtype=torch.float64)
        self.gates = -torch.rand(*shape, KEY, dtype=torch.float64)
        self.beta = torch.rand(*shape, dtype=torch.float64)


def time_first(*tensors: Tensor) -> list[Tensor]:
    """[B, H, T, ...] -> [B, T, H, ...]"""
    return [tensor.transpose(1, 2) for tensor in tensors]


def same(actual: Tensor, expected: Tensor) -> None:
    """Equal as far as the peer's float32 goes; the peer scales queries, ours does not."""
    error = (actual * KEY**-0.5 - expected).abs().max() / expected.abs().max()
    assert error < 1e-5, f"relative error {error:.1e}"


@pytest.mark.parametrize("time", TIMES)
def test_gated_linear_attention(time: int) -> None:
    x = Inputs(time)
    theirs, _ = naive("gla", "naive_recurrent_gla")(*time_first(x.q, x.k, x.v, x.gates))
    same(linear_attention(x.q, x.k, x.v, x.gates)[0], theirs.transpose(1, 2))


@pytest.mark.parametrize("time", TIMES)
def test_one_decay_per_head_and_step(time: int) -> None:
    x = Inputs(time)
    function = naive("simple_gla", "naive_recurrent_simple_gla")
    theirs, _ = function(*time_first(x.q, x.k, x.v, x.gate))
    same(linear_attention(x.q, x.k, x.v, x.gate[..., None])[0], theirs.transpose(1, 2))


@pytest.mark.parametrize("time", TIMES)
def test_retention(time: int) -> None:
    x = Inputs(time)
    decay = 1 - 2.0 ** (-5 - torch.arange(HEADS, dtype=torch.float64))
    ours, _ = linear_attention(x.q, x.k, x.v, decay.log()[None, :, None, None])
    same(ours, naive("retention", "naive_retention")(x.q, x.k, x.v))


@pytest.mark.parametrize("time", TIMES)
def test_delta_rule(time: int) -> None:
    x = Inputs(time)
    theirs, _ = naive("delta_rule", "delta_rule_recurrence")(x.q, x.k, x.v, x.beta)
    same(gated_delta_rule(x.q, x.k, x.v, torch.zeros_like(x.gate), x.beta)[0], theirs)


@pytest.mark.parametrize("time", TIMES)
def test_gated_delta_rule(time: int) -> None:
    x = Inputs(time)
    function = naive("gated_delta_rule", "naive_recurrent_gated_delta_rule")
    theirs, _ = function(*time_first(x.q, x.k, x.v, x.beta, x.gate))
    same(gated_delta_rule(x.q, x.k, x.v, x.gate, x.beta)[0], theirs.transpose(1, 2))


@pytest.mark.parametrize("time", TIMES)
def test_delta_rule_with_a_decay_per_channel(time: int) -> None:
    x = Inputs(time)
    function = naive("kda", "naive_recurrent_kda")
    theirs, _ = function(*time_first(x.q, x.k, x.v, x.gates, x.beta))
    same(channel_delta_rule(x.q, x.k, x.v, x.gates, x.beta)[0], theirs.transpose(1, 2))


CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "deltanet-1.3b": ("DeltaNet", {}),
    "deltanet-340m": ("DeltaNet", {"hidden_size": 1024, "num_heads": 8, "num_hidden_layers": 24}),
    "gated-deltanet-1.3b": ("GatedDeltaNet", {}),
    "gla-340m": ("GLA", {"hidden_size": 1024, "num_heads": 4, "num_hidden_layers": 24}),
    "retnet-1.3b": ("RetNet", {}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_peer_has_as_many_parameters(name: str) -> None:
    models = pytest.importorskip("fla.models")
    kind, numbers = CONFIGURATIONS[name]
    with torch.device("meta"):
        model = getattr(models, f"{kind}ForCausalLM")(getattr(models, f"{kind}Config")(**numbers))
    assert sum(weight.numel() for weight in model.parameters()) == published(name).params
