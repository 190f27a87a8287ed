"""Calibration, the control and further seeds near the front."""

import threading

import numpy as np
import pytest

from nas.driver import Driver
from nas.driver.confirm import next_to_repeat, shortfall, with_repeat
from nas.driver.control import control_of
from nas.evaluators.base import EvaluationFailed, StageResult
from nas.record import Measurement
from nas.samplers import make_sampler
from nas.store.base import TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.study.test_driver import Evaluator, drive, new_store, records
from tests.support.fake import small_study


class Noisy(Evaluator):
    """Each seed finds another loss, by an amount that follows from architecture and seed."""

    def __init__(self, spec, *, deviation=0.01, **options):
        super().__init__(spec, **options)
        self.deviation = deviation
        self.repeats = []

    def run(self, stage, architecture, number, *, repeat=0):
        found = super().run(stage, architecture, number, repeat=repeat)
        if not stage.startswith("train"):
            return found
        self.repeats.append((number, repeat))
        random = np.random.default_rng((int(architecture.id, 16), repeat))
        noise = self.deviation * float(random.standard_normal())
        (loss,) = found.measurements
        return StageResult(
            (loss.model_copy(update={"value": loss.value + noise}),), found.curves, {}
        )


def study(**changes):
    given = {**small_study(trials=10), "driver": {"library": "uniform"}, **changes}
    return StudySpec.model_validate(given)


def seeds_of(record):
    return sorted(m.metric for m in record.measurements if m.metric.startswith("text.loss@"))


def test_further_seeds_go_to_the_front_and_give_means_with_intervals():
    spec = study(confirm={"seeds": 2, "candidates": 4})
    store, evaluator = new_store(spec), Noisy(spec)
    assert drive(spec, store, evaluator)[0] == "complete"
    repeated = [r for r in records(store, spec) if seeds_of(r)]
    assert 1 <= len(repeated) <= 4
    for record in repeated:
        assert seeds_of(record) == ["text.loss@seed0", "text.loss@seed1", "text.loss@seed2"]
        runs = [record.value(name) for name in seeds_of(record)]
        (loss,) = (m for m in record.measurements if m.metric == "text.loss")
        assert loss.value == pytest.approx(np.mean(runs))
        assert loss.low < loss.value < loss.high
        assert loss.repeats == 3
    first = [number for number, repeat in evaluator.repeats if repeat == 0]
    again = [number for number, repeat in evaluator.repeats if repeat]
    assert len(again) == 2 * len(repeated)
    assert set(again) <= set(first)


def test_only_candidates_that_chance_may_have_kept_from_the_front_are_repeated():
    spec = study(confirm={"seeds": 2, "candidates": 10})
    store = new_store(spec)
    drive(spec, store, Noisy(spec, deviation=1e-9))
    exact = {r.number for r in records(store, spec) if seeds_of(r)}
    noisy_store = new_store(spec)
    drive(spec, noisy_store, Noisy(spec, deviation=1.0))
    noisy = {r.number for r in records(noisy_store, spec) if seeds_of(r)}
    assert len(exact) < len(noisy)


def test_what_the_sampler_was_told_stays_what_a_replay_tells_it():
    spec = study(confirm={"seeds": 1, "candidates": 2}, driver={"library": "optuna"})
    store = new_store(spec)
    told = []
    for _ in range(2):  # the second run only replays
        sampler = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, 10)
        seen = []
        plain = sampler.tell
        sampler.tell = lambda *a, seen=seen, plain=plain: (seen.append(a), plain(*a))
        Driver(spec, sampler, Noisy(spec), store, stop=threading.Event()).run()
        told.append(seen)
    assert told[0] == told[1]
    assert any(seeds_of(r) for r in records(store, spec))


def test_an_interrupted_confirmation_goes_on_with_the_missing_seeds():
    spec = study(confirm={"seeds": 3, "candidates": 2})
    store, stop = new_store(spec), threading.Event()

    def stop_at_first_repeat(stage, architecture, number):
        if sum(evaluator.runs.values()) > 2 * 10:  # two stages of ten trials
            stop.set()

    evaluator = Noisy(spec, hook=stop_at_first_repeat)
    drive(spec, store, evaluator, stop=stop)
    done = sum(len(seeds_of(r)) for r in records(store, spec))
    drive(spec, store, Noisy(spec))
    complete = [len(seeds_of(r)) for r in records(store, spec) if seeds_of(r)]
    assert complete == [4] * len(complete)
    assert sum(complete) > done


def test_a_candidate_whose_seeds_were_interrupted_is_finished_before_another_is_begun():
    spec = study(confirm={"seeds": 2, "candidates": 3})
    store = new_store(spec)
    drive(spec.model_copy(update={"confirm": None}), store, Noisy(spec))
    found = records(store, spec)
    nearest = next_to_repeat(spec, found)
    chosen = next(r for r in found if r.state == "complete" and r != nearest)
    (loss,) = (m for m in chosen.measurements if m.metric == "text.loss")
    far_off = loss.model_copy(update={"value": 1e6})  # the mean is nowhere near the front now
    begun = chosen.model_copy(
        update={"measurements": with_repeat(chosen.measurements, [far_off], 1)}
    )
    later = [begun if r is chosen else r for r in found]
    assert next_to_repeat(spec, later) == begun
    done = with_repeat(begun.measurements, [far_off], 2)
    finished = [r.model_copy(update={"measurements": done}) if r is begun else r for r in later]
    assert next_to_repeat(spec, finished).number == nearest.number


def test_a_seed_that_fails_is_noted_and_the_study_ends_well():
    class Unlucky(Noisy):
        def run(self, stage, architecture, number, *, repeat=0):
            if repeat == 1:
                raise EvaluationFailed(stage, "diverged", "loss is not a number")
            return super().run(stage, architecture, number, repeat=repeat)

    spec = study(confirm={"seeds": 1, "candidates": 2})
    store = new_store(spec)
    assert drive(spec, store, Unlucky(spec))[0] == "complete"
    notes = [e.data["text"] for e in store.events(spec.name) if e.kind == "note"]
    assert notes
    assert all("fails with further seed 1: loss is not a number" in note for note in notes)


def test_shortfall_is_what_noise_would_have_to_explain():
    costs = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [2.3, 2.0], [5.0, 5.0]])
    found = shortfall(costs, np.array([0.1, 0.0]))
    assert found[:3] == pytest.approx([0, 0, 0])
    assert found[3] == pytest.approx(3.0)
    assert found[4] == pytest.approx(40.0)
    assert shortfall(costs, np.zeros(2))[3] == np.inf


def test_a_repeat_leaves_other_measurements_alone():
    params = Measurement(metric="params", value=7, unit="count", stage="static")
    loss = Measurement(metric="text.loss", value=2.0, unit="nats", stage="train")
    new = loss.model_copy(update={"value": 4.0})
    found = {m.metric: m for m in with_repeat((params, loss), (new,), 1)}
    assert found["params"] == params
    assert found["text.loss"].value == 3.0
    third = {m.metric: m for m in with_repeat(found.values(), (new,), 2)}
    assert third["text.loss"].value == pytest.approx(10 / 3)
    assert third["text.loss"].repeats == 3


def test_nothing_is_repeated_unless_asked_for():
    spec = study()
    store = new_store(spec)
    drive(spec, store, Noisy(spec))
    assert not any(seeds_of(r) for r in records(store, spec))
    assert next_to_repeat(spec, records(store, spec)) is None


def test_the_control_mixes_nothing_and_is_no_trial():
    spec = study(control=True)
    store, evaluator = new_store(spec), Noisy(spec)
    drive(spec, store, evaluator)
    (event,) = [e for e in store.events(spec.name) if e.kind == "control"]
    control = control_of(spec.space)
    assert {layer.mixer.kind for layer in control.layers} == {"identity"}
    assert event.data["architecture"] == control.id
    assert event.data["values"]["text.loss"] > 1.0
    assert event.data["failure"] is None
    assert all(r.number >= 0 for r in records(store, spec))
    assert store.study(spec.name).trials == 10
    drive(spec, store, evaluator)
    assert len([e for e in store.events(spec.name) if e.kind == "control"]) == 1


def test_a_control_that_fails_is_recorded_and_stops_nothing():
    class NoControl(Noisy):
        def run(self, stage, architecture, number, *, repeat=0):
            if number < 0:
                raise EvaluationFailed(stage, "died", "killed")
            return super().run(stage, architecture, number, repeat=repeat)

    spec = study(control=True)
    store = new_store(spec)
    assert drive(spec, store, NoControl(spec))[0] == "complete"
    (event,) = [e for e in store.events(spec.name) if e.kind == "control"]
    assert (event.data["values"], event.data["failure"]) == ({}, "killed")


def test_calibration_spreads_the_first_candidates_over_sizes():
    spec = study(calibration={"trials": 6}, driver={"library": "optuna"})
    store = new_store(spec)
    drive(spec, store)
    found = records(store, spec)
    first, rest = found[:6], found[6:]
    assert {r.proposer for r in first} == {"calibration"}
    assert "calibration" not in {r.proposer for r in rest}
    assert store.study(spec.name).trials == 10
    sizes = sorted(r.value("params") for r in first)
    members = sorted(spec.space.example(seed).cost(1).params for seed in range(200))
    assert sizes[0] <= members[10]
    assert sizes[-1] >= members[-10]
    assert len(set(sizes)) == 6


def test_an_interrupted_calibration_goes_on_with_the_same_candidates():
    spec = study(calibration={"trials": 6})
    whole = new_store(spec)
    drive(spec, whole)
    store, stop = MemoryStore(), threading.Event()
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    evaluator = Evaluator(spec, hook=lambda s, a, n: stop.set() if n == 2 else None)
    drive(spec, store, evaluator, stop=stop)
    assert len(store.trials(spec.name, TrialQuery())[0]) < 10
    drive(spec, store)
    assert [r.architecture for r in records(store, spec)] == [
        r.architecture for r in records(whole, spec)
    ]


def test_calibration_keeps_the_limits():
    spec = study(calibration={"trials": 5}, limits=[{"metric": "params", "max": 60_000}])
    store = new_store(spec)
    drive(spec, store)
    first = records(store, spec)[:5]
    assert {r.state for r in first} == {"complete"}
