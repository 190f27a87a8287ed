"""What is timed is what the names say; no assertion is about how long it took."""

from typing import Any

import pytest
import torch

from nas.errors import Unavailable
from nas.evaluators.build import initialise
from nas.evaluators.latency import prefill_decode
from nas.evaluators.latency.prefill_decode import check_device, decode, latency, prefill, train_step
from nas.study import Target

FORWARD = ("prefill.latency_ms", "decode.latency_ms")


@pytest.fixture
def model(architecture: Any) -> Any:
    return initialise(architecture(dim=16, depth=1, vocab=32), 0)


@pytest.fixture(autouse=True)
def _little_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INFERENCE", "TRAINING"):
        monkeypatch.setattr(prefill_decode, name, prefill_decode.Effort(seconds=0.0))


def test_every_metric_comes_at_each_context_and_for_the_longest(model: Any) -> None:
    found = {m.metric: m for m in latency(model, Target(contexts=(8, 16), batch=2), vocab=32)}
    names = (*FORWARD, "train_step.latency_ms")
    assert set(found) == {f"{name}{at}" for name in names for at in ("", "@8", "@16")}
    for name in names:
        assert found[name].value == found[f"{name}@16"].value
        assert found[name].low <= found[name].value <= found[name].high
        assert found[name].repeats == 3
        assert (found[name].unit, found[name].stage) == ("ms", "latency")


def test_the_weights_stay_as_they_are(model: Any) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    latency(model, Target(contexts=(8,)), vocab=32)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_each_decoding_step_sees_the_whole_context_and_no_more(model: Any) -> None:
    tokens = torch.arange(8)[None]
    with torch.inference_mode():
        expected = model(tokens)[:, -1:]
        subject = decode(model, tokens)
        for _ in range(3):
            state = subject.prepare()
            assert state.length == 7
            assert torch.allclose(subject.run(state), expected, atol=1e-5)
            assert state.length == 8


def test_a_context_of_one_token_can_be_decoded(model: Any) -> None:
    with torch.inference_mode():
        subject = decode(model, torch.zeros(1, 1, dtype=torch.int64))
        assert subject.run(subject.prepare()).shape == (1, 1, 32)


def test_prefill_starts_from_nothing_each_time(model: Any) -> None:
    tokens = torch.arange(8)[None]
    with torch.inference_mode():
        subject = prefill(model, tokens)
        assert torch.equal(subject.run(None), subject.run(None))


def test_a_training_step_leaves_no_gradients_behind(model: Any) -> None:
    train_step(model, torch.zeros(2, 8, dtype=torch.int64)).run(None)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_slow_training_step_is_measured_only_when_asked_for(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill_decode, "PATIENCE_SECONDS", 0.0)
    target = Target(contexts=(8, 16))

    def measured(*wanted: str) -> set[str]:
        return {m.metric for m in latency(model, target, vocab=32, wanted=wanted)}

    forward = {f"{name}{at}" for name in FORWARD for at in ("", "@8", "@16")}
    assert measured() == forward
    assert measured("train_step.latency_ms@8") == {*forward, "train_step.latency_ms@8"}
    longest = {"train_step.latency_ms", "train_step.latency_ms@16"}
    assert measured("train_step.latency_ms") == forward | longest


def test_the_target_dtype_is_used(model: Any) -> None:
    latency(model, Target(contexts=(8,), dtype="bfloat16"), vocab=32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_an_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no usable CUDA device; use 'cpu'"):
        check_device("cuda")
