"""Warm starts across targets: what is taken, what a re-pricing adds, and what stays unknown."""

import math
from typing import Any

import pytest

from nas.driver.known import KIND, observations_of
from nas.driver.sampling import sampler_of
from nas.errors import BadInput
from nas.record import Measurement
from nas.starting import completed
from nas.store.base import TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec, Target
from nas.transfer import KIND as REPRICED
from nas.views import RepricedPoint, RepricedView
from nas.warmstart import difference, freeze
from tests.support.driving import drive, essence
from tests.support.fake import small_study

TIME = "decode.latency_ms"
TARGET = {"contexts": [16, 64]}
SOURCE = StudySpec.model_validate(
    small_study("source", trials=10, seed=5, driver={"library": "uniform"})
)


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    found.create_study("source", SOURCE.model_dump(mode="json"), None)
    drive(SOURCE, found)
    return found


def complete(store: MemoryStore) -> list[Any]:
    return store.trials("source", TrialQuery(states=("complete",)))[0]


def price(
    store: MemoryStore, prices: dict[int, float | None], target: dict[str, Any] = TARGET
) -> None:
    """What a re-pricing of these trials writes down; None could not be measured."""
    points = []
    for number, value in prices.items():
        record = store.trial("source", number)
        time = Measurement(metric=TIME, value=value or 1.0, unit="ms", stage="latency")
        points.append(
            RepricedPoint(
                trial=number,
                architecture=record.architecture,
                description="",
                before={},
                after={TIME: time},
                on_front=False,
                broken=None,
                failure="too noisy" if value is None else None,
            )
        )
    view = RepricedView(
        study="source",
        target=Target.model_validate(target).model_dump(mode="json"),
        metrics=SOURCE.objectives,
        environment={},
        measured=len(points),
        points=tuple(points),
    )
    store.add_event("source", REPRICED, view.model_dump(mode="json"))


def begun(store: MemoryStore, name: str = "heir", **changes: Any) -> StudySpec:
    """A study on the other target that starts from the source, written down but not run."""
    given = {"target": TARGET, "warm_start": [{"study": "source"}], "trials": 6, **changes}
    given.setdefault("driver", {"library": "nas"})
    spec = completed(StudySpec.model_validate(small_study(name, **given)), store)
    store.create_study(name, spec.model_dump(mode="json"), None)
    freeze(store, spec)
    return spec


def notes(store: MemoryStore, name: str = "heir") -> list[str]:
    return [str(e.data["text"]) for e in store.events(name) if e.kind == "note"]


def times(store: MemoryStore, spec: StudySpec) -> list[float]:
    return [each.values[1] for each in observations_of(store, spec)]


def test_what_no_device_changes_is_taken_and_the_rest_is_unknown_and_said(
    store: MemoryStore,
) -> None:
    objectives = [{"metric": m} for m in ("text.loss", TIME, "params", "kv_cache_bytes")]
    spec = begun(store, objectives=objectives)
    known = observations_of(store, spec)
    assert [each.member.id for each in known] == [r.architecture for r in complete(store)]
    for each, record in zip(known, complete(store), strict=True):
        cost = each.member.cost(64)
        assert each.values[0] == record.value("text.loss")
        assert math.isnan(each.values[1])
        assert each.values[2:] == (cost.params, cost.cache_values * 4)
    (note,) = notes(store)
    assert f"{TIME} of study 'source' is not known here: the target differs: contexts" in note
    assert "`nas reprice source --target FILE --all`" in note
    (event,) = [e for e in store.events("heir") if e.kind == KIND]
    assert list(event.data["unknown"]) == [TIME]


def test_a_repricing_on_the_target_fills_the_times(store: MemoryStore) -> None:
    prices = {r.number: 10.0 + r.number for r in complete(store)}
    price(store, prices)
    spec = begun(store)
    assert times(store, spec) == list(prices.values())
    assert notes(store) == []


def test_prices_of_another_target_and_failed_ones_are_not_taken(store: MemoryStore) -> None:
    numbers = [r.number for r in complete(store)]
    price(store, dict.fromkeys(numbers, 5.0), {"contexts": [16, 128]})
    price(store, {numbers[0]: 7.0, numbers[1]: 8.0, numbers[2]: None})
    price(store, {numbers[1]: 9.0})  # measured again
    spec = begun(store)
    found = times(store, spec)
    assert found[:2] == [7.0, 9.0]
    assert all(math.isnan(time) for time in found[2:])
    (note,) = notes(store)
    assert f"is known on this target for 2 of its {len(numbers)} trials" in note


def test_what_is_repriced_later_changes_no_study_that_began_before(store: MemoryStore) -> None:
    spec = begun(store)
    before = observations_of(store, spec)
    price(store, {r.number: 1.0 for r in complete(store)})
    freeze(store, spec)
    assert str(observations_of(store, spec)) == str(before)


def test_a_limit_on_a_time_holds_for_repriced_times(store: MemoryStore) -> None:
    first, second, *_ = (r.number for r in complete(store))
    price(store, {first: 1.0, second: 4.0})
    spec = begun(store, limits=[{"metric": TIME, "max": 2.0}])
    broken = [each.violation for each in observations_of(store, spec)]
    assert broken[:2] == [0.0, pytest.approx(1.0)]
    assert set(broken[2:]) == {0.0}


def test_a_source_of_which_nothing_would_be_known_is_refused(store: MemoryStore) -> None:
    objectives = [{"metric": TIME}, {"metric": "params"}]
    with pytest.raises(BadInput) as caught:
        begun(store, objectives=objectives)
    assert f"{TIME} of study 'source' cannot be compared" in caught.value.message
    assert "nas reprice source" in caught.value.problems[0].accepted
    two = [r.number for r in complete(store)][:2]
    price(store, dict.fromkeys(two, 3.0))
    assert len(observations_of(store, begun(store, objectives=objectives))) == 2


def test_a_metric_that_no_repricing_keeps_does_not_name_the_command(store: MemoryStore) -> None:
    begun(store, limits=[{"metric": "prefill.latency_ms", "max": 1e9}])
    (said,) = [note for note in notes(store) if note.startswith("prefill")]
    assert "a re-pricing would not say it, since it is no objective there" in said
    assert "`nas reprice" not in said


def test_memory_that_is_counted_is_the_same_on_another_device() -> None:
    state, other = "decode.state_bytes", {"contexts": [32, 64], "threads": 2}
    faster, coarse = (
        StudySpec.model_validate(small_study(target={**other, "dtype": dtype}))
        for dtype in ("float32", "bfloat16")
    )
    assert difference(faster, SOURCE, state) is None
    assert difference(faster, SOURCE, TIME) == "the target differs: threads 1 there and 2 here"
    said = "the target differs: dtype float32 there and bfloat16 here"
    assert difference(coarse, SOURCE, state) == said


def test_a_limit_on_what_the_source_did_not_measure_drops_none_of_its_trials(
    store: MemoryStore,
) -> None:
    limits = [{"metric": "decode.state_bytes", "max": 1e9}]  # which the fake does not measure
    target = {"contexts": [32, 64], "threads": 2}
    spec = begun(store, target=target, limits=limits)
    assert len(observations_of(store, spec)) == len(complete(store))


@pytest.mark.parametrize("library", ["nas", "optuna"])
@pytest.mark.parametrize("priced", [0, 6])
def test_samplers_cope_with_times_that_are_known_of_none_or_some(
    store: MemoryStore, library: str, priced: int
) -> None:
    price(store, {r.number: 1.0 + r.number for r in complete(store)[:priced]})
    spec = begun(store, driver={"library": library})
    assert drive(spec, store)[0] == "complete"
    assert store.study("heir").trials == 6


def test_a_study_with_unknown_times_that_is_stopped_goes_on_alike(store: MemoryStore) -> None:
    found = []
    for name, stops in (("whole", ()), ("parts", (3,))):
        spec = begun(store, name)
        for trials in stops:
            drive(spec, store, trials=trials)
        drive(spec, store)
        found.append([r | {"study": ""} for r in essence(store, spec)])
    assert found[0] == found[1]
    assert sampler_of(spec).name.startswith("nas")
