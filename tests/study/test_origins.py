"""First candidates and warm starts: what may be given, what becomes of it, and that it lasts."""

import json
import math
import threading
import time

import pytest
from pydantic import TypeAdapter

from nas.driver import Driver
from nas.driver.first import best_known
from nas.driver.known import KIND, observations_of
from nas.errors import BadInput, Conflict, NasError
from nas.evaluators.tasks import AnyTask
from nas.origins import wrong_candidate
from nas.record import Proposal
from nas.report import report_of
from nas.runner import Runner
from nas.samplers import make_sampler
from nas.samplers.base import Observation
from nas.samplers.uniform import UniformSampler
from nas.search_spaces.axes import ReplayDraw
from nas.search_spaces.space import SearchSpace
from nas.service import Service
from nas.settings import Settings
from nas.starting import completed
from nas.store.base import Asked, TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from nas.warmstart import freeze
from tests.support.fake import FakeEvaluator, small_study

UNIFORM = {"library": "uniform"}


def study(name="small", **changes):
    return StudySpec.model_validate(small_study(name, **{"driver": UNIFORM, **changes}))


SPACE = study().space
MEMBERS = [SPACE.example(seed) for seed in (1, 2, 3)]
OUTSIDE = SearchSpace.model_validate(
    {"dim": 24, "depth": 2, "mixer": {"kind": "identity"}, "ffn": {"kind": "gelu", "hidden": 8}}
).example()


def data(architecture):
    return json.loads(architecture.model_dump_json())


def run(spec, store, sampler=None, *, stop_at=None):
    if spec.name not in {record.name for record in store.studies()}:
        store.create_study(spec.name, spec.model_dump(mode="json"), None)
        freeze(store, spec)
    stop = threading.Event()

    def watch(kind, data):
        if kind == "trial" and data["number"] == stop_at:
            stop.set()

    sampler = sampler or make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, 8)
    driver = Driver(spec, sampler, FakeEvaluator(spec), store, stop=stop, on_event=watch)
    return driver.run()[0]


def asked(store, name):
    return [entry for entry in store.log(name) if isinstance(entry, Asked)]


def essence(store, name):
    return [
        (e.architecture, e.proposal.model_dump(exclude={"seconds"})) for e in asked(store, name)
    ]


class Listening(UniformSampler):
    """A sampler that remembers what it hears."""

    name = "listening"

    def __init__(self, space):
        super().__init__(space, seed=0)
        self.heard = []

    def tell(self, number, values, violation, rung=None):
        self.heard.append(number)

    def replay(self, proposal):
        self.space.decode(ReplayDraw(proposal.answers))  # refuses what is no member
        super().replay(proposal)


class Learning(Listening):
    """One that learns from other studies, too."""

    name = "learning"

    def learn(self, known):
        self.known = list(known)


# First candidates --------------------------------------------------------------------------------


def test_first_candidates_come_first_in_order_members_or_not():
    given = [data(MEMBERS[0]), data(OUTSIDE), data(MEMBERS[1])]
    spec = study(trials=6, first=given)
    store, sampler = MemoryStore(), Listening(SPACE)
    assert run(spec, store, sampler) == "complete"
    first = asked(store, "small")[:4]
    assert [e.architecture for e in first[:3]] == [m.id for m in (MEMBERS[0], OUTSIDE, MEMBERS[1])]
    assert [e.proposal.proposer for e in first] == [*["first"] * 3, "listening"]
    assert [e.proposal.outside for e in first] == [False, True, False, False]
    assert [e.proposal.number for e in first] == [0, 1, 2, 3]
    records = store.trials("small", TrialQuery())[0]
    assert {r.state for r in records[:3]} == {"complete"}
    assert records[1].value("text.loss") is not None


def test_the_sampler_hears_of_members_alone_under_numbers_of_its_own():
    spec = study(trials=5, first=[data(OUTSIDE), data(MEMBERS[0])])
    store, sampler = MemoryStore(), Listening(SPACE)
    run(spec, store, sampler)
    count = len(asked(store, "small"))
    assert sampler.heard == list(range(count - 1))
    plain = UniformSampler(SPACE, seed=0)
    plain.replay(Proposal(number=0, answers={}, proposer="first"))
    assert asked(store, "small")[2].architecture == plain.ask()[1].id


@pytest.mark.parametrize("driver", [UNIFORM, {"sampler": "nsga2"}, {"library": "nevergrad"}])
def test_a_study_with_first_candidates_that_is_stopped_and_resumed_asks_the_same(driver):
    first = [data(OUTSIDE), data(MEMBERS[0])]
    spec = study(trials=6, first=first, driver=driver, control_arm=0.3, calibration={"trials": 3})
    whole, parts = MemoryStore(), MemoryStore()
    assert run(spec, whole) == "complete"
    for number in (0, 3):
        assert run(spec, parts, stop_at=number) == "stopped"
    assert run(spec, parts) == "complete"
    assert essence(parts, "small") == essence(whole, "small")
    proposers = [e.proposal.proposer for e in asked(whole, "small")]
    assert proposers[:5] == ["first"] * 2 + ["calibration"] * 3


def test_the_report_says_which_first_candidates_lie_outside_the_space():
    spec = study(trials=3, first=[data(OUTSIDE), data(MEMBERS[0])])
    store = MemoryStore()
    run(spec, store)
    shown = report_of(store, spec).first
    assert [(each.architecture, each.in_space, each.state) for each in shown] == [
        (OUTSIDE.id, False, "complete"),
        (MEMBERS[0].id, True, "complete"),
    ]


def test_a_published_model_is_a_first_candidate_with_its_own_or_other_sizes():
    (model,) = study(first=[{"preset": "gpt2-small", "vocab": 256, "dim": 48, "depth": 2}]).first
    assert (model.dim, model.depth, model.vocab) == (48, 2, 256)
    (whole,) = study(first=[{"preset": "mamba-130m"}]).first
    assert whole.cost(1).params == 129_135_360


WRONG = {
    "no such preset": ([{"preset": "gpt5"}], "no published model is called 'gpt5'.*gpt2-small"),
    "a choice left open": (
        [{"preset": "width_depth", "vocab": 256}],
        "'width_depth' leaves something to choose",
    ),
    "a small vocabulary": (
        [{**data(OUTSIDE), "vocab": 64}],
        r"first\.0: it has vocab 64 and task text uses 256 tokens; accepted: vocab 256 or more",
    ),
    "another family": (
        [{**data(OUTSIDE), "family": "encoder", "head": {"kind": "masked_token"}}],
        "family encoder and the space has causal_lm",
    ),
    "more than the budget": ([data(m) for m in MEMBERS], "3 candidates and a budget of 2 trials"),
    "neither trial nor front": ([{"study": "other"}], "give either a trial"),
    "both": ([{"study": "other", "trial": 1, "front": True}], "give either a trial"),
}


@pytest.mark.parametrize(("first", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_first_candidate_is_an_error_that_says_what_would_do(first, message):
    with pytest.raises(ValueError, match=message):
        study(trials=2, first=first)


def test_a_head_that_the_task_does_not_train_or_with_too_few_classes_is_refused():
    task = TypeAdapter(AnyTask).validate_python({"kind": "text_origin"})
    given = {"family": "encoder", "dim": 16, "depth": 1, "mixer": {"kind": "identity"}}
    given |= {"ffn": {"kind": "gelu", "hidden": 8}, "vocab": task.vocab}

    def wrong(head):
        encoder = SearchSpace.model_validate({**given, "head": head}).example()
        return wrong_candidate(encoder, [task], "encoder", longest=8)

    assert wrong({"kind": "classification", "classes": task.classes}) is None
    assert wrong({"kind": "masked_token"}).startswith("head masked_token and task text_origin")
    few = wrong({"kind": "classification", "classes": task.classes - 1})
    assert few.startswith(f"head of {task.classes - 1} classes")


def test_trials_and_fronts_of_other_studies_are_copied_into_the_study():
    store = MemoryStore()
    source = study("source", trials=5)
    run(source, store)
    given = [{"study": "source", "trial": 2}, {"study": "source", "front": True}]
    spec = completed(study(trials=9, first=given), store)
    record = store.trial("source", 2)
    front = report_of(store, source).arms[0].front
    assert spec.first[0].found[0].id == record.architecture
    assert len(spec.first[1].found) == front > 0
    store.delete_study("source")
    again = StudySpec.model_validate(spec.model_dump(mode="json"))
    assert run(again, store) == "complete"
    assert asked(store, "small")[0].architecture == record.architecture


def test_first_candidates_from_studies_and_trials_that_are_not_there():
    store = MemoryStore()
    store.create_study("source", study("source").model_dump(mode="json"), None)
    for given, path in (
        ({"study": "sauce", "front": True}, "first.0.study"),
        ({"study": "source", "front": True}, "first.0.front"),
        ({"study": "source", "trial": 4}, "first.0.trial"),
    ):
        with pytest.raises(BadInput) as caught:
            completed(study(first=[given]), store)
        assert caught.value.problems[0].path == path


# Warm starts -------------------------------------------------------------------------------------


def warm(store, *, changes=None, **wanted):
    spec = study(warm_start=[{"study": "source", **wanted}], **(changes or {}))
    return completed(spec, store)


@pytest.fixture
def store():
    found = MemoryStore()
    run(study("source", trials=6, seed=5), found)
    return found


def test_a_sampler_that_learns_gets_every_complete_trial_of_the_source(store):
    spec, sampler = warm(store), Learning(SPACE)
    run(spec, store, sampler)
    records = [r for r in store.trials("source", TrialQuery())[0] if r.state == "complete"]
    assert [known.member.id for known in sampler.known] == [r.architecture for r in records]
    assert [known.values for known in sampler.known] == [
        (r.value("text.loss"), r.value("decode.latency_ms")) for r in records
    ]
    assert {known.violation for known in sampler.known} == {0.0}
    notes = [e.data["text"] for e in store.events("small") if e.kind == "note"]
    assert notes == [f"learning learns from {len(records)} architectures of other studies"]


def test_another_sampler_tries_the_front_of_the_source_first(store):
    spec = warm(store, changes={"trials": 8, "driver": {"sampler": "nsga2"}})
    run(spec, store)
    first = [e for e in asked(store, "small") if e.proposal.proposer == "first"]
    assert 0 < len(first) <= 2
    known = {r.architecture for r in store.trials("source", TrialQuery())[0]}
    assert {e.architecture for e in first} <= known
    (note,) = [e.data["text"] for e in store.events("small") if e.kind == "note"]
    assert note.startswith("optuna.nsga2 cannot learn from other studies; of the ")
    assert f"{len(first)} on their front are tried first" in note


def test_what_was_known_stays_known_when_the_source_is_gone(store):
    spec = warm(store, changes={"trials": 6})
    assert run(spec, store, stop_at=1) == "stopped"
    before = observations_of(store, spec)
    store.delete_study("source")
    assert observations_of(store, spec) == before
    freeze_again = [e for e in store.events("small") if e.kind == KIND]
    assert len(freeze_again) == 1
    assert run(spec, store) == "complete"
    notes = [e for e in store.events("small") if e.kind == "note"]
    assert len(notes) == 1, "said once, however often the study is resumed"


def test_limits_of_this_study_hold_for_what_the_source_found(store):
    limits = [{"metric": "params", "max": 12_000}]
    run(spec := warm(store, changes={"limits": limits}), store, Learning(SPACE))
    known = observations_of(store, spec)
    assert {each.violation > 0 for each in known} == {
        each.member.cost(1).params > 12_000 for each in known
    }
    assert any(each.violation > 0 for each in known)


def test_a_metric_of_another_target_that_is_named_is_refused(store):
    changes = {"target": {"contexts": [16, 64]}}
    with pytest.raises(BadInput) as caught:
        warm(store, changes=changes, metrics=["text.loss", "decode.latency_ms"])
    assert "the target differs: contexts [32, 64] there and [16, 64] here" in caught.value.message
    accepted = caught.value.problems[0].accepted
    assert accepted.startswith("metrics: [text.loss]; or `nas reprice source --target FILE --all`")


def test_trained_metrics_alone_are_taken_where_they_are_named(store):
    changes = {"target": {"contexts": [16, 64]}}
    spec = warm(store, changes=changes, metrics=["text.loss"])
    run(spec, store, sampler := Learning(SPACE))
    losses, times = zip(*(each.values for each in sampler.known), strict=True)
    assert all(math.isfinite(loss) for loss in losses)
    assert all(math.isnan(time) for time in times)
    notes = [e.data["text"] for e in store.events("small") if e.kind == "note"]
    assert len(notes) == 1, "what was left out by name needs no remark"


DIFFERING = {
    "another length": ({"budget": {"trials": 4, "train_tokens": 2000}}, "trains on 1000 tokens"),
    "another task setting": ({"task": {"kind": "text", "context": 16}}, "context 32 there and 16"),
    "another task": (
        {
            "task": {"kind": "recall", "context": 32, "pairs": 4, "vocab": 64},
            "objectives": [{"metric": "recall.loss"}],
        },
        "it does not measure recall.loss",
    ),
}


@pytest.mark.parametrize(("changes", "message"), DIFFERING.values(), ids=DIFFERING)
def test_a_source_that_measured_something_else_is_refused(store, changes, message):
    with pytest.raises(BadInput, match=message):
        warm(store, changes=changes)


def test_sources_that_are_not_there_or_empty_or_the_study_itself(store):
    with pytest.raises(BadInput, match="sauce"):
        completed(study(warm_start=[{"study": "sauce"}]), store)
    store.create_study("bare", study("bare").model_dump(mode="json"), None)
    with pytest.raises(BadInput, match=r"'bare' has no complete trial with text\.loss"):
        completed(study(warm_start=[{"study": "bare"}]), store)
    with pytest.raises(ValueError, match="other studies, each of them once"):
        study(warm_start=[{"study": "small"}])
    with pytest.raises(BadInput, match="params is neither an objective nor a limit"):
        warm(store, metrics=["params"])


def test_a_study_whose_warm_start_was_never_written_down_does_not_start_cold(store):
    spec = warm(store)
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    with pytest.raises(Conflict, match="not written down"):
        run(spec, store)


def test_objectives_in_closed_form_are_computed_for_this_studys_target(store):
    objectives = [
        {"metric": "text.loss"},
        {"metric": "kv_cache_bytes"},
        {"metric": "peak_activation_bytes"},
    ]
    changes = {"objectives": objectives, "target": {"contexts": [512]}}
    run(spec := warm(store, changes=changes), store, Learning(SPACE))
    for each in observations_of(store, spec):
        assert each.values[1] == each.member.cost(512).cache_values * 4
        assert each.values[2] > 0


def test_the_best_known_are_within_limits_on_the_front_and_few():
    spec = study(trials=8)
    found = [SPACE.example(seed) for seed in range(20, 26)]
    values = [(1.0, 5.0), (2.0, 4.0), (3.0, 3.0), (4.0, 2.0), (9.0, 9.0), (0.0, 0.0)]
    known = [
        Observation(member, value, 1.0 if value == (0.0, 0.0) else 0.0)
        for member, value in zip(found, values, strict=True)
    ]
    assert best_known(spec, known) == [found[0], found[3]]
    half = [each._replace(values=(each.values[0], math.nan)) for each in known]
    assert best_known(spec, half) == [found[0]]
    assert best_known(spec, [each._replace(values=(math.nan, math.nan)) for each in known]) == []
    assert best_known(spec, known[-1:]) == []


# Through the service -----------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path):
    store = MemoryStore()
    runner = Runner(store, tmp_path, lambda spec, home: FakeEvaluator(spec))
    found = Service(store, Settings(home=tmp_path), runner)
    yield found
    found.close()


def finish(service, name):
    deadline = time.monotonic() + 60
    while service.study(name).state == "running" and time.monotonic() < deadline:
        service.runner.wait(name, seconds=1)
    return service.study(name)


def test_the_service_starts_a_study_from_another_and_again_with_the_same_key(service):
    service.create_study(small_study("source", trials=5))
    assert finish(service, "source").state == "complete"
    posted = small_study(
        "heir",
        trials=5,
        first=[{"study": "source", "front": True}],
        warm_start=[{"study": "source"}],
    )
    created = service.create_study(posted, key="k")
    assert created.spec["first"][0]["found"]
    assert finish(service, "heir").state == "complete"
    service.delete_study("source")
    assert service.create_study(posted, key="k").created == created.created
    with pytest.raises(NasError, match="heir"):
        service.create_study({**posted, "seed": 4}, key="k")
    assert service.report("heir").first
