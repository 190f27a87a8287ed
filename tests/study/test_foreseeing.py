"""Composed times that are known before anything is trained: who uses them, and that a study which
did so is resumed and replayed as it was, whatever the library has learned since."""

from contextlib import closing
from functools import cache
from typing import Any

import numpy as np
import pytest

from nas.driver import composer
from nas.driver.composer import Composer
from nas.driver.foreseeing import KIND, ComposedTimes
from nas.driver.screening import Screen
from nas.evaluators.composed.counting import PartCounter
from nas.evaluators.composed.parts import take_apart, why_not_composable
from nas.pareto import hypervolume
from nas.record import TrialRecord
from nas.replaying import replay
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset
from nas.store.base import Asked, Store
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.composed import ComposedEvaluator, World
from tests.support.driving import create, drive, essence, proposals, records, small_space
from tests.support.fake import small_study

TIME = "decode.latency_ms"
BOUND = 8.5
"""Milliseconds; about a sixth of the space is faster."""


def study(library: str = "nas", sampler: str | None = None, **changes: Any) -> StudySpec:
    given = small_study(**{"trials": 14, "limits": [{"metric": TIME, "max": BOUND}], **changes})
    given["budget"] = {"trials": changes.get("trials", 14)}
    given["driver"] = {"library": library, "sampler": sampler}
    given["rungs"] = [{"kind": "latency", "how": "composed"}, {"kind": "train", "tokens": 1000}]
    return StudySpec.model_validate(given).model_copy(update={"space": small_space()})


def evaluator(spec: StudySpec) -> ComposedEvaluator:
    return ComposedEvaluator(spec, World(spec.target))


def run(spec: StudySpec, store: Store | None = None, **options: Any) -> Store:
    if store is None:
        store = MemoryStore()
        create(store, spec)
    drive(spec, store, evaluator=evaluator, **options)
    return store


def editions(store: Store, spec: StudySpec) -> list[dict[str, Any]]:
    return [event.data for event in store.events(spec.name) if event.kind == KIND]


@cache
def true_ms(member: Architecture) -> float:
    """What a measurement says."""
    found = World(study().target).latency(member).measurements
    return next(m.value for m in found if m.metric == TIME)


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are measured when a candidate needs them, so that more is known with each trial."""
    monkeypatch.setattr(composer, "MOST_AHEAD", 0)


class Blind(ComposedTimes):
    """Learns nothing, as if times were not known before they are asked for."""

    def learn(self, *_: Any) -> None:
        return None


def test_members_are_counted_as_they_are_taken_apart() -> None:
    counter = PartCounter()
    for name in ("hybrid_mixers", "everything"):  # some layers depend on their place
        space = SearchSpace.model_validate(preset(name))
        for seed in range(30):
            member = space.example(seed)
            parts = None if why_not_composable(member) else take_apart(member).counts
            assert counter.counts(member) == parts


def test_with_times_known_fewer_trials_break_a_tight_limit_and_the_front_is_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The faster the larger a model need not be; a sixth of the space is fast enough."""

    def found(spec: StudySpec) -> tuple[int, float]:
        trials = [r for r in records(run(spec), spec) if r.evaluated]
        assert len(trials) == 9
        kept = [(r.value("text.loss"), r.value(TIME)) for r in trials if r.state == "complete"]
        points = np.array(kept, dtype=float).reshape(-1, 2)
        return len(trials) - len(kept), hypervolume(points, [12.0, BOUND], ["minimize"] * 2)

    spec = study(trials=9, seed=1)
    broken, volume = found(spec)
    monkeypatch.setattr("tests.support.driving.ComposedTimes", Blind)
    broken_before, volume_before = found(spec)
    assert broken <= 1 < 3 <= broken_before  # in five seeds 0 or 1, and 3 to 7
    assert volume > volume_before


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize(("library", "sampler"), [("nas", "surrogate"), ("optuna", "nsga2")])
def test_a_study_that_is_stopped_goes_on_with_the_times_it_knew(
    library: str, sampler: str, tmp_path: Any
) -> None:
    spec = study(library, sampler, trials=9)
    whole = run(spec)
    assert len(editions(whole, spec)) > 2
    file = tmp_path / "nas.duckdb"
    with closing(DuckDBStore(file)) as store:
        create(store, spec)
    for trials in (2, 6, None):
        with closing(DuckDBStore(file)) as store:
            run(spec, store, trials=trials)
    with closing(DuckDBStore(file)) as store:
        assert essence(store, spec) == essence(whole, spec)
        assert proposals(store, spec) == proposals(whole, spec)
        assert editions(store, spec) == editions(whole, spec)
        assert store.study(spec.name).trials == whole.study(spec.name).trials == 9


@pytest.mark.usefixtures("step_by_step")
def test_a_replay_sees_what_each_proposal_saw_and_needs_no_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = study(trials=9, seed=3)
    store = run(spec)
    assert len(editions(store, spec)) > 2
    for setting in Composer(spec, evaluator(spec), store).settings:
        slower = [
            row.model_copy(update={"ms": 9 * row.ms}) for row in store.part_latencies(setting)
        ]
        store.put_part_latencies(slower)  # by another study, as it were

    def no_device(*_: Any) -> None:
        raise AssertionError("a replay asks for the device")

    monkeypatch.setattr(composer, "settings_of", no_device)
    found = replay(store, spec)
    assert found.first_difference is None
    assert found.identical == found.own > 5
    monkeypatch.setattr("nas.replaying.ComposedTimes.recall", lambda *_: None)
    assert replay(store, spec).first_difference is not None


def test_the_anchor_is_measured_once_however_often_a_study_is_stopped() -> None:
    spec, store, worlds = study("uniform", trials=4), MemoryStore(), []

    def measuring(spec: StudySpec) -> ComposedEvaluator:
        worlds.append(World(spec.target))
        return ComposedEvaluator(spec, worlds[-1])

    create(store, spec)
    for trials in (1, 2, None):
        drive(spec, store, evaluator=measuring, trials=trials)
    anchor = composer.anchor_architecture("causal_lm").id
    assert [world.whole.count(anchor) for world in worlds] == [1, 0, 0]


@pytest.mark.usefixtures("step_by_step")
def test_what_is_too_slow_by_all_of_its_interval_is_rejected_at_no_cost(tmp_path: Any) -> None:
    spec = study("uniform", trials=8, control_arm=0.5, seed=1)
    with closing(DuckDBStore(tmp_path / "nas.duckdb")) as store:
        create(store, spec)
        run(spec, store)
        found = records(store, spec)
        rejected = [r for r in found if r.state == "infeasible" and not r.evaluated]
        assert len(rejected) > 2
        assert sum(r.evaluated for r in found) == store.study(spec.name).trials == 8
        for record in rejected:
            assert _time(record).stage == "composed"
            assert _time(record).low > BOUND
            assert record.reason is not None
            assert TIME in record.reason
            assert true_ms(store.architecture(record.architecture)) > BOUND
        arm = [r for r in found if r.proposer.startswith("control.") and r.number > 4]
        assert arm
        assert not set(map(id, arm)) & set(map(id, rejected)), "the arm keeps to the same limits"


def _time(record: TrialRecord) -> Any:
    return next(m for m in record.measurements if m.metric == TIME)


def test_a_time_whose_interval_leaves_the_limit_open_rejects_nothing() -> None:
    spec = study("uniform", trials=2)
    times = ComposedTimes(spec)
    kept = Composer(spec, evaluator(spec), run(spec))
    member = next(m for m in map(spec.space.example, range(99)) if true_ms(m) > BOUND)
    kept.compose(member)
    assert kept.composition is not None
    times.learn(kept.composition, 0)
    (time,) = (times(member) or {}).values()
    for bound, stages in ((time.low * 0.99, {"static", "composed"}), (time.low * 1.01, {"static"})):
        limited = spec.model_copy(
            update={"limits": (spec.limits[0].model_copy(update={"max": bound}),)}
        )
        assert {m.stage for m in Screen(limited, times).measure(member)} == stages


def test_parts_are_measured_ahead_where_the_sampler_can_use_them_and_fail_no_candidate() -> None:
    spec = study(trials=3, seed=1)
    store, world = MemoryStore(), World(spec.target)
    create(store, spec)
    drive(spec, store, evaluator=lambda spec: ComposedEvaluator(spec, world))
    wanted = {part for seed in range(200) for part in take_apart(spec.space.example(seed)).counts}
    assert wanted <= set(world.parts)
    assert len(set(world.parts)) == len(world.parts)

    class Failing(World):
        """Measures what a first candidate needs, and no more."""

        def measure_parts(self, parts: Any, modes: Any) -> Any:
            if self.parts:
                raise composer.EvaluationFailed("latency", "too_noisy", "busy again")
            return super().measure_parts(parts, modes)

    others = MemoryStore()
    create(others, spec)
    drive(spec, others, evaluator=lambda spec: ComposedEvaluator(spec, Failing(spec.target)))
    first = records(others, spec)[0]
    assert first.failure is None
    assert first.environment is not None
    about = others.environment(first.environment)["composed"]
    assert about["not_measured_ahead"] == "busy again"


@pytest.mark.usefixtures("step_by_step")
def test_an_edition_holds_only_what_is_new_and_gives_back_all() -> None:
    spec = study("uniform", trials=9)
    store = run(spec)
    events = [event for event in store.events(spec.name) if event.kind == KIND]
    sizes = [len(next(iter(event.data["parts"].values()))) for event in events]
    assert len(sizes) > 2
    assert max(sizes[1:]) < sizes[0]
    asked = [entry for entry in store.log(spec.name) if isinstance(entry, Asked)]
    times = ComposedTimes(spec)
    times.recall(events)
    again = Composer(spec, evaluator(spec), store)
    again.recall(times.latest)
    again.compose(store.architecture(asked[0].architecture))
    assert again.composition is not None
    assert times.learn(again.composition, 99) is None, "it is what the store says"
    assert [event.data["edition"] for event in events] == list(range(1, len(events) + 1))
    times.go_to(events[1].data["number"] - 1)
    assert times.edition == 1
    times.go_to(99)
    assert times.edition == len(events)


@pytest.mark.parametrize(("changed", "expected"), [({}, True), ({"torch": "0.1"}, False)])
def test_an_anchor_of_another_machine_or_version_is_not_gone_on_with(
    changed: dict[str, str], expected: bool
) -> None:
    spec = study("uniform", trials=2)
    store = run(spec)
    made = Composer(spec, evaluator(spec), store)
    made.compose(spec.space.example())
    before = made.composition
    assert before is not None
    settings = {name: s.model_copy(update=changed) for name, s in before.settings.items()}
    again = Composer(spec, evaluator(spec), store)
    again.recall(composer.Composition(settings, before.anchor_ms, before.formulas))
    assert again.is_ready(spec.space.example()) is expected
