"""States and options of the delta rules against flash-linear-attention, which wants triton to be
importable. Its naive functions compute in float32; its models are built without weights.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.search_spaces.space import SearchSpace

pytest.importorskip("fla")
pytest.importorskip("triton")
delta = pytest.importorskip("fla.ops.delta_rule.naive")
gated = pytest.importorskip("fla.ops.gated_delta_rule.naive")
kda = pytest.importorskip("fla.ops.kda.naive")
models = pytest.importorskip("fla.models")

KEY, VALUE = 8, 16


def draw(*decay_shape: int) -> tuple[Tensor, ...]:
    """q, k, v, log decay and beta for 2 sequences, 3 heads and 64 tokens, and a state."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 3, 64, KEY), normalize(torch.randn(2, 3, 64, KEY), dim=-1)
    v, beta = torch.randn(2, 3, 64, VALUE), torch.rand(2, 3, 64)
    log_decay = logsigmoid(torch.randn(2, 3, 64, *decay_shape) + 2)
    return q, k, v, log_decay, beta, torch.randn(2, 3, KEY, VALUE)


def turned(*tensors: Tensor) -> list[Tensor]:
    """[B, H, T, ...] <-> [B, T, H, ...]"""
    return [x.transpose(1, 2) for x in tensors]


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


def test_deltanet() -> None:
    q, k, v, _, beta, before = draw()
    o, state = gated_delta_rule(q * KEY**-0.5, k, v, torch.zeros(1, 1, 1), beta, before)
    expected, last = delta.delta_rule_recurrence(q, k, v, beta, initial_state=before)
    assert_same(o, expected)
    assert_same(state, last)
    o, state = gated_delta_rule(q * KEY**-0.5, k, v, torch.zeros(1, 1, 1), beta)
    expected, last = delta.delta_rule_chunkwise(q, k, v, beta, chunk_size=16)
    assert_same(o, expected)
    assert_same(state, last)


def test_gated_deltanet() -> None:
    q, k, v, log_decay, beta, before = draw()
    o, state = gated_delta_rule(q * KEY**-0.5, k, v, log_decay, beta, before)
    expected, last = gated.naive_recurrent_gated_delta_rule(
        *turned(q, k, v, beta, log_decay), initial_state=before, output_final_state=True
    )
    assert_same(o, *turned(expected))
    assert_same(state, last)


@pytest.mark.parametrize("name", ["naive_recurrent_kda", "naive_chunk_kda"])
def test_kimi_delta(name: str) -> None:
    q, k, v, log_decay, beta, before = draw(KEY)
    o, state = channel_delta_rule(q * KEY**-0.5, k, v, log_decay, beta, before)
    expected, last = getattr(kda, name)(
        *turned(q, k, v, log_decay, beta), initial_state=before, output_final_state=True
    )
    assert_same(o, *turned(expected))
    assert_same(state, last)


def count(config: str, **numbers: Any) -> int:
    """Parameters of one of their models."""
    with torch.device("meta"):
        made = getattr(models, f"{config}Config")(**numbers)
        model = getattr(models, f"{config}ForCausalLM")(made)
    return sum(weight.numel() for weight in model.parameters())


def space(mixer: dict[str, Any]) -> SearchSpace:
    """Of two layers, as wide as the models below."""
    ffn = {"kind": "swiglu", "hidden": 256}
    return SearchSpace.model_validate(
        {"vocab": 100, "dim": 64, "depth": 2, "mixer": mixer, "ffn": ffn, "tied": False}
    )


@pytest.mark.parametrize(
    ("config", "theirs", "ours"),
    [
        ("DeltaNet", {"num_heads": 4}, {"heads": 4, "head_dim": 16, "decay": False}),
        ("DeltaNet", {"num_heads": 4, "use_short_conv": False}, {"conv": 1, "decay": False}),
        ("DeltaNet", {"num_heads": 4, "use_gate": True}, {"decay": False, "output_gate": True}),
        ("GatedDeltaNet", {"num_heads": 4, "head_dim": 16, "expand_v": 2}, {"value_factor": 2}),
        ("GatedDeltaNet", {"num_heads": 4, "head_dim": 16, "use_gate": False, "expand_v": 1}, {}),
        ("KDA", {"num_heads": 4, "head_dim": 16}, {"kind": "kimi_delta", "gate_rank": 16}),
        ("KDA", {"num_heads": 4, "head_dim": 16, "use_short_conv": False}, {"conv": 1}),
    ],
)
def test_options_take_as_many_parameters(
    config: str, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    shared = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    mixer = {"kind": "gated_delta", "heads": 4, "head_dim": 16}
    if config == "KDA":
        mixer |= {"kind": "kimi_delta"}
    else:
        mixer |= {"output_gate": theirs.get("use_gate", config == "GatedDeltaNet")}
    model = space(mixer | ours).example()
    assert model.cost(1).params == count(config, intermediate_size=256, **shared, **theirs)
