"""The ledger of a study, from its stored trials to the answer of the verb."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nas import proxies
from nas.cli.tables import console, print_ledger
from nas.errors import BadInput, Conflict, NotFound
from nas.evaluators.static import static_measurements
from nas.record import Measurement, Proposal, TrialRecord
from nas.runner import Runner
from nas.search_spaces.architecture import Architecture
from nas.service import Service
from nas.settings import Settings
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import FakeEvaluator, small_study

ATTENTION = {"kind": "attention", "heads": 1, "groups": 1, "head_dim": 8}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    store = MemoryStore()
    runner = Runner(store, tmp_path, lambda spec, _: FakeEvaluator(spec))
    return Service(store, Settings(home=tmp_path), runner)


def architecture(hidden: int, *, mixer: dict[str, Any] = ATTENTION, vocab: int = 256) -> Any:
    layer = {
        "mixer": mixer,
        "ffn": {"kind": "swiglu", "hidden": hidden},
        "block": {"kind": "sequential"},
    }
    return Architecture.model_validate({"vocab": vocab, "dim": 16, "layers": [layer]})


def write(service: Service, model: Architecture, values: dict[str, float], **changes: Any) -> None:
    """One more trial with these trained values and what is known in closed form."""
    store, spec = service.store, StudySpec.model_validate(small_study("written"))
    if not store.studies():
        store.create_study("written", spec.model_dump(mode="json"), None)
    number = len(store.log("written")) // 2
    proposal = Proposal(number=number, answers={}, proposer="test")
    store.ask("written", proposal, model)
    trained = tuple(
        Measurement(metric=name, value=value, unit="nats", stage="train")
        for name, value in values.items()
    )
    fields = {
        "study": "written",
        "number": number,
        "architecture": model.id,
        "answers": {},
        "state": "complete",
        "proposer": "test",
        "measurements": (*static_measurements(model, spec.target), *trained),
        "started": datetime.now(UTC),
        "seconds": 1.0,
    }
    store.finish(TrialRecord(**{**fields, **changes}), {})


def test_a_finished_study_says_what_its_measurements_are_worth(service: Service) -> None:
    service.create_study(small_study(trials=30, control_arm=0.0))
    list(service.events("small", follow=True))
    (found,) = service.proxies("small").references
    assert (found.metric, found.direction, found.unit) == ("text.loss", "minimize", "nats")
    assert found.trials == found.complete == 30
    by_name = {proxy.metric: proxy for proxy in found.proxies}
    assert [proxy.metric for proxy in found.proxies[:3]] == ["body_params", "params", "random"]
    assert [proxy.control for proxy in found.proxies[:4]] == [True, True, True, False]
    params, cache = by_name["params"], by_name["kv_cache_bytes"]
    # the fake loss falls with the parameters and depends on nothing else
    assert params.kendall is not None
    assert params.kendall.value == 1.0
    assert params.verdict == "promote"
    assert (params.stage, params.unit, params.claim) == ("static", "count", "more")
    assert cache.verdict == "demoted"
    assert by_name["decode.latency_ms"].stage == "latency"
    assert by_name["random"].stage is None
    assert found.left_out["active_params"] == "the same as params in every trial"
    taus = [p.kendall.value for p in found.proxies[3:] if p.kendall]
    assert taus == sorted(taus, reverse=True)
    assert service.proxies("small") == service.proxies("small")
    assert service.proxies("small", metric="text.loss").references == (found,)
    service.close()


def test_only_complete_trials_count_and_a_repeat_does_not_count_twice(service: Service) -> None:
    for hidden in range(8, 13):
        write(service, architecture(hidden), {"text.loss": 20.0 - hidden})
    write(service, architecture(8), {"text.loss": 12.0}, state="repeat", repeat_of=0)
    write(service, architecture(40), {"text.loss": 1.0}, state="infeasible", reason="too large")
    write(service, architecture(41), {"text.accuracy": 1.0})
    (found,) = service.proxies("written").references
    assert found.complete == found.trials == 5
    assert {proxy.verdict for proxy in found.proxies if proxy.metric != "random"} == {"unknown"}
    assert "at least 12 are needed" in found.proxies[0].reasons[0]


def test_without_mixing_is_a_control(service: Service) -> None:
    for hidden in range(8, 12):
        write(service, architecture(hidden), {"text.loss": 20.0 - hidden})
    assert "not known" in service.proxies("written").references[0].identity.text
    write(service, architecture(8, mixer={"kind": "identity"}), {"text.loss": 10.5})
    (found,) = service.proxies("written").references
    assert found.identity.trials == (4,)
    assert (found.identity.value, found.identity.best) == (10.5, 9.0)
    assert (found.identity.better, found.identity.mixing) == (2, 4)
    assert "2 of 4 trials that mix do better, the best 9" in found.identity.text
    service.store.add_event("written", "control", {"values": {"text.loss": 8.0}})
    (found,) = service.proxies("written").references
    assert found.identity.value == 8.0
    assert "says nothing about mixers" in found.identity.text


def test_a_control_that_failed_is_none(service: Service) -> None:
    for hidden in range(8, 12):
        write(service, architecture(hidden), {"text.loss": 20.0 - hidden})
    service.store.add_event("written", "control", {"values": {}, "failure": "it died"})
    assert service.proxies("written").references[0].identity.value is None


def test_trials_of_older_versions_get_their_parameters_from_the_architecture(
    service: Service,
) -> None:
    for hidden in range(8, 20):
        loss = Measurement(metric="text.loss", value=20.0 - hidden, unit="nats", stage="train")
        write(service, architecture(hidden), {}, measurements=(loss,))
    (found,) = service.proxies("written").references
    assert found.proxies[0].metric == "body_params"
    assert found.proxies[0].kendall is not None
    assert found.proxies[0].kendall.value == 1.0


def test_parameters_without_embeddings_are_the_line_when_embeddings_mislead(
    service: Service,
) -> None:
    for hidden in range(8, 28):
        model = architecture(hidden, vocab=6000 - 100 * hidden)
        write(service, model, {"text.loss": 30.0 - hidden})
    (found,) = service.proxies("written").references
    body, total = found.proxies[:2]
    assert body.verdict == "promote"
    assert total.verdict == "demoted"
    assert "wrong way round" in total.reasons[0]


def test_a_large_study_is_judged_by_some_of_its_trials(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "MOST_TRIALS", 15)
    for hidden in range(8, 28):
        write(service, architecture(hidden), {"text.loss": float(hidden * 7 % 20)})
    (found,) = service.proxies("written").references
    assert (found.trials, found.complete) == (15, 20)
    assert service.proxies("written").references == (found,)


def test_each_trained_objective_is_a_reference(service: Service) -> None:
    objectives = [
        {"metric": "text.accuracy", "direction": "maximize"},
        {"metric": "params"},
        {"metric": "text.loss"},
    ]
    spec = StudySpec.model_validate(small_study("written", objectives=objectives))
    service.store.create_study("written", spec.model_dump(mode="json"), None)
    for hidden in range(8, 12):
        values = {"text.accuracy": hidden / 20, "text.loss": 20.0 - hidden}
        write(service, architecture(hidden), values)
    accuracy, loss = service.proxies("written").references
    assert (accuracy.metric, accuracy.direction) == ("text.accuracy", "maximize")
    assert loss.metric == "text.loss"
    for reference in (accuracy, loss):
        assert reference.proxies[0].kendall is not None
        assert reference.proxies[0].kendall.value == 1.0
        assert not {"text.loss", "text.accuracy"} & {p.metric for p in reference.proxies}


def test_what_cannot_be_asked_says_what_can(service: Service) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        service.proxies("nowhere")
    for hidden in (8, 9):
        write(service, architecture(hidden), {"text.loss": 20.0 - hidden})
    with pytest.raises(Conflict, match=r"has 2 complete trials with text\.loss.*from 3 on"):
        service.proxies("written")
    with pytest.raises(BadInput, match=r"no such metric.*beauty.*accepted: .*text\.loss"):
        service.proxies("written", metric="beauty")
    with pytest.raises(BadInput, match=r"not trained.*params.*accepted: .*text\.loss"):
        service.proxies("written", metric="params")
    untrained = small_study("cheap", objectives=[{"metric": "params"}])
    spec = StudySpec.model_validate(untrained)
    service.store.create_study("cheap", spec.model_dump(mode="json"), None)
    with pytest.raises(BadInput, match=r"no objective is trained.*text\.loss"):
        service.proxies("cheap")


def test_the_table_shows_intervals_verdicts_and_reasons(service: Service) -> None:
    for hidden in range(8, 28):
        write(service, architecture(hidden), {"text.loss": 30.0 - hidden})
    with console.capture() as shown:
        print_ledger(service.proxies("written"))
    text = shown.get()
    assert "against text.loss (lower is better), 20 of 20 complete trials" in text
    assert "1.00 (1.00..1.00)" in text
    assert "body_params: it beats random" in text
    assert "active_params left out: the same as params" in text
    assert "control: no model in which nothing mixes" in text
