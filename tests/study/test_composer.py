"""Composed latencies in a study: when hardware is used, and what is kept."""

import numpy as np
import pytest
from pydantic import ValidationError

from nas.driver.composer import FIT, Composer, is_composed, measured_instead
from nas.driver.foreseeing import ComposedTimes
from nas.driver.knowledge import StudyKnowledge
from nas.evaluators.base import StageResult
from nas.fronts import front_of
from nas.record import Measurement
from nas.study import StudySpec
from tests.study.test_driver import drive, new_store, records
from tests.support.composed import ComposedEvaluator, World
from tests.support.fake import small_study

LADDER = [{"kind": "latency", "how": "composed"}, {"kind": "train", "tokens": 1000}]


def study(*, trials=12, how="composed", **changes):
    given = {**small_study(trials=trials), "driver": {"library": "uniform"}, **changes}
    given["budget"] = {"trials": trials}
    given["rungs"] = [{**LADDER[0], "how": how}, LADDER[1]]
    return StudySpec.model_validate(given)


def run(spec, store=None, **options):
    store = store or new_store(spec)
    world = World(spec.target, **options)
    state = drive(spec, store, ComposedEvaluator(spec, world))[0]
    return state, store, world


def latency_of(record):
    return next(m for m in record.measurements if m.metric == "decode.latency_ms")


def test_composed_times_are_those_of_the_world_and_marked_as_composed():
    spec = study()
    state, store, world = run(spec)
    assert state == "complete"
    done = [r for r in records(store, spec) if r.state == "complete"]
    composed = [r for r in done if is_composed(latency_of(r))]
    assert composed
    for record in done:
        found = latency_of(record)
        true = next(
            m.value
            for m in world.latency(store.architecture(record.architecture)).measurements
            if m.metric == "decode.latency_ms"
        )
        assert found.value == pytest.approx(true, rel=1e-6)
        if is_composed(found):
            assert found.low <= found.value <= found.high


def test_everything_on_the_front_was_measured_and_most_of_the_rest_was_not():
    spec = study(trials=16)
    _, store, world = run(spec)
    _, numbers, _ = front_of(store, spec.name, spec.objectives, spec.limits)
    done = [r for r in records(store, spec) if r.state == "complete"]
    for record in done:
        if record.number in numbers:
            assert latency_of(record).stage == "latency"
            assert record.value("decode.latency_ms@composed") is not None
            reason = store.environment(record.environment)["measured_because"]
            assert reason == "it could be on the front"
    assert len(world.whole) < len(done)


def test_what_further_seeds_bring_to_the_front_is_measured_then():
    spec = study(trials=16, confirm={"seeds": 1, "candidates": 3})

    class Worse(ComposedEvaluator):
        """Further seeds are much worse, so that others take the place of what was repeated."""

        def run(self, stage, architecture, number, *, repeat=0):
            found = super().run(stage, architecture, number, repeat=repeat)
            if not repeat:
                return found
            (loss,) = found.measurements
            worse = loss.model_copy(update={"value": loss.value + 5})
            return StageResult((worse,))

    store, world = new_store(spec), World(spec.target)
    assert drive(spec, store, Worse(spec, world))[0] == "complete"
    _, numbers, _ = front_of(store, spec.name, spec.objectives, spec.limits)
    done = {r.number: r for r in records(store, spec)}
    assert all(latency_of(done[number]).stage == "latency" for number in numbers)
    late = [r for r in done.values() if r.value("decode.latency_ms@first") is not None]
    assert late
    for record in late:
        assert record.first_value("decode.latency_ms") == record.value("decode.latency_ms@first")


def test_parts_are_measured_once_and_serve_the_next_study():
    first = study(name="first")
    _, store, world = run(first)
    assert len(world.models) == FIT
    assert len(set(world.parts)) == len(world.parts)
    second = study(name="second", seed=1)
    store.create_study("second", second.model_dump(mode="json"), None)
    _, _, again = run(second, store)
    assert again.models == []
    assert not set(again.parts) & set(world.parts)


def test_a_limit_that_an_interval_leaves_open_is_decided_by_measuring():
    plain = study(how="measured", trials=30)
    _, store, _ = run(plain)
    times = sorted(latency_of(r).value for r in records(store, plain) if r.state == "complete")
    bound = times[len(times) // 2] * (1 + 1e-9)
    spec = study(limits=[{"metric": "decode.latency_ms", "max": bound}])
    limited = run(spec)[1]
    found = records(limited, spec)
    assert {r.state for r in found} >= {"complete", "infeasible"}
    for record in found:
        if record.measurements and record.state in ("complete", "infeasible"):
            holds = latency_of(record).value <= bound
            assert holds == (record.state == "complete")
    rejected = [r for r in found if r.state == "infeasible"]
    assert any(is_composed(latency_of(r)) for r in rejected)


def test_what_cannot_be_composed_is_measured_and_says_why():
    spec = study(trials=4)
    store, world = new_store(spec), World(spec.target)
    world.measure_models = lambda architectures, modes: []  # nothing to fit on
    evaluator = ComposedEvaluator(spec, world)
    drive(spec, store, evaluator)
    for record in records(store, spec):
        if record.state == "complete":
            assert latency_of(record).stage == "latency"
            reason = store.environment(record.environment)["measured_because"]
            assert "needs at least 9" in reason


def test_measuring_every_candidate_stays_the_default():
    spec = study(how="measured")
    _, store, world = run(spec)
    assert world.parts == world.models == []
    assert not any(is_composed(m) for r in records(store, spec) for m in r.measurements)


def test_only_times_can_be_composed():
    with pytest.raises(ValidationError, match="no objective or limit is a time"):
        study(objectives=[{"metric": "text.loss"}, {"metric": "params"}])


def test_measured_times_take_the_place_of_composed_ones():
    old = Measurement(metric="decode.latency_ms", value=2, unit="ms", stage="composed")
    loss = Measurement(metric="text.loss", value=2, unit="nats", stage="train")
    new = old.model_copy(update={"value": 3, "stage": "latency"})
    found = {m.metric: m.value for m in measured_instead((old, loss), (new,))}
    assert found == {"decode.latency_ms": 3, "decode.latency_ms@composed": 2, "text.loss": 2}


def test_times_are_known_without_a_measurement_once_their_parts_are_and_never_before():
    spec = study()
    store, world = new_store(spec), World(spec.target)
    composer = Composer(spec, ComposedEvaluator(spec, world), store)
    member, other = (
        next(m for m in map(spec.space.example, range(99)) if m.dim == dim) for dim in (48, 64)
    )
    times = ComposedTimes(spec)
    assert composer.composition is None
    assert times(member) is None
    composed = composer.compose(member).result
    times.learn(composer.composition, 1)
    measured = len(world.parts)
    found = {m.metric: (m.value, m.low, m.high) for m in composed.measurements}
    (time,) = times(member).values()
    assert (time.ms, time.low, time.high) == found["decode.latency_ms"]
    values = StudyKnowledge(spec, times).values(member)
    assert np.isnan(values[0])
    assert values[1] == time.ms
    assert (times(other) is None) == (not composer.is_ready(other))
    times.go_to(0)
    assert times(member) is None
    assert len(world.parts) == measured


def test_a_candidate_that_is_stopped_is_not_measured_for_the_front():
    given = study(trials=9).model_dump(mode="json")
    given["rungs"].insert(1, {"kind": "train", "tokens": 200})
    spec = StudySpec.model_validate({**given, "promotion": {}})
    _, store, world = run(spec)
    found = records(store, spec)
    stopped = [r for r in found if r.state == "stopped"]
    assert stopped
    assert all(is_composed(latency_of(r)) for r in stopped)
    _, numbers, _ = front_of(store, spec.name, spec.objectives, spec.limits)
    assert numbers
    for record in found:
        if record.number in numbers:
            assert latency_of(record).stage == "latency"
            why = store.environment(record.environment)
            assert why["measured_because"] == "it could be on the front"
            assert why["composed"], "what was found before it was stopped is kept"
    assert not {r.architecture for r in stopped} & set(world.whole)
