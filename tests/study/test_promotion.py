"""The whole loop with rungs that decide."""

import threading
from collections import Counter
from math import floor

import pytest

from nas.driver import Driver
from nas.evaluators.base import EvaluationFailed
from nas.samplers import make_sampler
from nas.store.base import Told, TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.study.test_driver import UNIFORM, Crash, Evaluator, FlakyStore, essence, records
from tests.support.fake import SCORE, small_study
from tests.support.problems import TINY

SHORT, MIDDLE, LONG = "train@500", "train@2000", "train@8000"
LOSS = [{"metric": "text.loss"}]
RUNGS = [{"kind": "latency"}, *({"kind": "train", "tokens": n} for n in (500, 2000, 8000))]


def study(*, trials=9, rungs=RUNGS, promotion=None, workers=1, budget=None, **changes):
    given = small_study(**{"driver": {**UNIFORM, "workers": workers}, **changes})
    given |= {"rungs": rungs, "promotion": {} if promotion is None else promotion}
    given["budget"] = {"trials": trials, **(budget or {})}
    if given["space"] is TINY:
        given["space"] = {**TINY, "vocab": 256}
    return StudySpec.model_validate(given)


class Watching(Evaluator):
    """Keeps the order of the stages, and checks that a stage runs once."""

    def __init__(self, spec, **options):
        super().__init__(spec, **options)
        self.order = []
        self.of = {}
        self.losses = {}

    def run(self, stage, architecture, number, *, repeat=0):
        self.order.append((number, stage))
        self.of.setdefault(number, []).append(stage)
        result = super().run(stage, architecture, number, repeat=repeat)
        for found in result.measurements:
            if "loss" in found.metric:
                self.losses[stage, number] = found.value
        return result


def new_store(spec):
    store = MemoryStore()
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    return store


def drive(spec, store, evaluator=None, *, stop=None, sampler=None, **options):
    make = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, spec.budget.trials)
    evaluator = evaluator or Evaluator(spec)
    stop = stop or threading.Event()
    return Driver(spec, sampler or make, evaluator, store, stop=stop, **options).run()


def ran(spec, **options):
    store, evaluator = new_store(spec), Watching(spec, **options)
    ending = drive(spec, store, evaluator)
    return store, evaluator, ending


# One worker --------------------------------------------------------------------------------------


def test_one_worker_pauses_trials_promotes_them_later_and_finishes_them():
    spec = study(trials=9)
    store, evaluator, ending = ran(spec)
    assert ending == ("complete", "all 9 trials are evaluated")
    found = {r.number: r for r in records(store, spec) if r.evaluated}
    assert {(r.state, r.rung) for r in found.values()} == {
        ("stopped", SHORT),
        ("stopped", MIDDLE),
        ("complete", None),
    }
    best = [r for r in found.values() if r.state == "complete"]
    for record in best:
        assert evaluator.of[record.number] == ["latency", SHORT, MIDDLE, LONG]
        wanted = {"text.loss@500tokens", "text.loss@2000tokens", "text.loss", "params"}
        assert wanted <= {m.metric for m in record.measurements}
        (curve,) = store.curves(spec.name, record.number).values()
        assert curve[-1].loss == record.value("text.loss")
    pauses = [places(evaluator, r.number) for r in best]
    assert any(later != first + 1 for first, later in pauses), "others ran in between"
    assert store.study(spec.name).trials == 9


def places(evaluator, number):
    """When a trial ran its first two trainings."""
    return [evaluator.order.index((number, stage)) for stage in (SHORT, MIDDLE)]


def test_what_was_stopped_is_listed_and_not_on_the_front():
    spec = study(trials=9)
    store, _, _ = ran(spec)
    stopped, total = store.trials(spec.name, TrialQuery(states=("stopped",)))
    assert total == len(stopped) == 8
    front = {point.number for point in store.front_values(spec.name, ["decode.latency_ms"])}
    assert front == {r.number for r in records(store, spec) if r.state == "complete"}
    for record in stopped:
        assert record.value("text.loss") is None
        assert record.value("text.loss@500tokens") is not None
        assert record.failure is None
        assert store.environment(record.environment)["device"] == "fake"


def test_the_budget_counts_a_trial_once_and_most_of_the_training_goes_to_few():
    spec = study(trials=27, objectives=LOSS)
    store, evaluator, _ = ran(spec)
    runs = Counter(stage for _, stage in evaluator.order)
    assert runs["latency"] == runs[SHORT] == store.study(spec.name).trials == 27
    assert 9 <= runs[MIDDLE] <= 18
    assert 3 <= runs[LONG] <= 9


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_in_the_end_the_best_share_of_each_rung_has_gone_on(workers, keep):
    spec = study(trials=20, workers=workers, promotion={"keep": keep}, objectives=LOSS)
    _, evaluator, _ = ran(spec)
    for here, there in ((SHORT, MIDDLE), (MIDDLE, LONG)):
        reached = [number for number, stage in evaluator.order if stage == here]
        reached.sort(key=lambda number: evaluator.losses[here, number])
        best = reached[: max(1, floor(keep * len(reached) + 1e-9))]
        assert {number for number, stage in evaluator.order if stage == there} >= set(best)


def test_without_promotion_every_trial_goes_through_all_rungs():
    spec = study(trials=5).model_copy(update={"promotion": None})
    store, evaluator, _ = ran(spec)
    assert {r.state for r in records(store, spec)} <= {"complete", "repeat"}
    assert set(map(tuple, evaluator.of.values())) == {("latency", SHORT, MIDDLE, LONG)}
    assert all(e.rung is None for e in store.log(spec.name) if isinstance(e, Told))


def test_two_trials_are_too_few_for_a_third_and_still_one_is_finished():
    spec = study(trials=2)
    store, _, _ = ran(spec)
    assert sorted(r.state for r in records(store, spec) if r.evaluated) == ["complete", "stopped"]


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nobody_trains_at_a_rung_that_was_not_once_among_the_best_before_it(workers, seed):
    spec = study(trials=20, workers=workers, seed=seed, objectives=LOSS)
    store, evaluator, _ = ran(spec, seconds=0.001)
    log = [e for e in store.log(spec.name) if isinstance(e, Told) and e.rung is not None]
    log = [e for e in log if store.trial(spec.name, e.number).state != "repeat"]
    for rung, (here, there) in enumerate([(SHORT, MIDDLE), (MIDDLE, LONG)]):
        reached = [e.number for e in log if e.rung == rung]
        loss = {number: evaluator.losses[here, number] for number in reached}
        may = {min(reached, key=loss.__getitem__)}  # one goes on from each rung in any case
        for count in range(len(reached) + 1):
            may |= set(sorted(reached[:count], key=loss.__getitem__)[: count // 3])
        assert {number for number, stage in evaluator.order if stage == there} <= may
    assert all(len(set(stages)) == len(stages) for stages in evaluator.of.values())


def test_a_promotion_is_made_before_anything_new_is_begun():
    spec = study(trials=12, objectives=LOSS)
    _, evaluator, _ = ran(spec)
    order = [(number, stage) for number, stage in evaluator.order if stage != "latency"]
    assert [stage for _, stage in order[:4]] == [SHORT, SHORT, SHORT, MIDDLE]
    best = min((n for n, _ in order[:3]), key=lambda n: evaluator.losses[SHORT, n])
    assert order[3][0] == best


def test_a_trial_that_fails_or_breaks_a_limit_later_is_that():
    limits = [{"metric": "text.loss@2000tokens", "max": 0.0}]
    spec = study(trials=6, limits=limits)
    store, _, _ = ran(spec)
    broken = [r for r in records(store, spec) if r.state == "infeasible"]
    assert broken
    assert all("text.loss@2000tokens" in r.reason and r.rung is None for r in broken)
    spec = study(trials=6)

    class Diverging(Watching):
        def run(self, stage, architecture, number, *, repeat=0):
            if stage == MIDDLE:
                raise EvaluationFailed(stage, "diverged", "loss is not a number")
            return super().run(stage, architecture, number, repeat=repeat)

    store = new_store(spec)
    assert drive(spec, store, Diverging(spec))[0] == "complete"
    failed = [r for r in records(store, spec) if r.state == "failed"]
    assert failed
    assert all(r.value("text.loss@500tokens") is not None and r.rung is None for r in failed)
    assert store.study(spec.name).trials == 6


def test_a_repeat_of_a_stopped_trial_is_served_what_that_reached():
    spec = study(trials=20, space=TINY)
    store, _, _ = ran(spec)
    found = records(store, spec)
    repeats = [r for r in found if r.state == "repeat" and r.rung]
    assert repeats
    for record in repeats:
        assert record.value("text.loss@500tokens") == found[record.repeat_of].value(
            "text.loss@500tokens"
        )
    assert sum(r.evaluated for r in found) == 20


# Who passes --------------------------------------------------------------------------------------


def test_calibration_trials_pass_every_rung_and_go_first():
    spec = study(trials=6, calibration={"trials": 3})
    store, evaluator, _ = ran(spec)
    found = [r for r in records(store, spec) if r.proposer == "calibration"]
    assert [r.state for r in found] == ["complete"] * 3
    assert [number for number, _ in evaluator.order[:12]] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_bracket_is_not_judged_before_its_rung():
    spec = study(trials=30, promotion={"brackets": 3}, objectives=LOSS)
    store, evaluator, _ = ran(spec)
    log = [e for e in store.log(spec.name) if isinstance(e, Told) and e.rung is not None]
    told = [e for e in log if store.trial(spec.name, e.number).state != "repeat"]
    from nas.driver.stopping import bracket_of

    assert {bracket_of(spec, e.number) for e in told} == {0, 1, 2}
    assert all(e.passes == (e.rung < bracket_of(spec, e.number)) for e in told)
    free = {e.number for e in told if bracket_of(spec, e.number) == 2}
    assert all(LONG in evaluator.of[number] for number in free)


BY_SCORE = [
    {"kind": "scores", "decides": {"text.loss": SCORE}},
    {"kind": "latency"},
    {"kind": "train", "tokens": 500},
]


class Misleading(Watching):
    """Its score prefers what trains worst."""

    def run(self, stage, architecture, number, *, repeat=0):
        result = super().run(stage, architecture, number, repeat=repeat)
        if stage != "scores":
            return result
        (score,) = result.measurements
        return type(result)((score.model_copy(update={"value": -score.value}),))


def test_a_rung_that_the_ledger_demotes_stops_deciding_and_says_so_once():
    spec = study(trials=30, rungs=BY_SCORE, calibration={"trials": 12})
    store, evaluator = new_store(spec), Misleading(spec)
    drive(spec, store, evaluator)
    notes = [e.data for e in store.events(spec.name) if e.kind == "note"]
    (note,) = (data for data in notes if data.get("distrusted") == "scores")
    assert "scores no longer decides who goes on: score.synflow does not stand for" in note["text"]
    assert "the wrong way round" in note["text"]
    assert {r.state for r in records(store, spec) if r.evaluated} == {"complete"}
    assert Counter(stage for _, stage in evaluator.order)["train"] == 30


def test_a_rung_goes_on_deciding_without_trials_that_show_something_against_it():
    spec = study(trials=30, rungs=BY_SCORE)
    store, evaluator = new_store(spec), Misleading(spec)
    drive(spec, store, evaluator)
    assert not [e for e in store.events(spec.name) if e.kind == "note"]
    assert Counter(stage for _, stage in evaluator.order)["train"] < 20


def test_a_candidate_without_the_score_that_decides_passes():
    class Silent(Watching):
        def run(self, stage, architecture, number, *, repeat=0):
            result = super().run(stage, architecture, number, repeat=repeat)
            return type(result)(()) if stage == "scores" else result

    spec = study(trials=4, rungs=BY_SCORE)
    store = new_store(spec)
    drive(spec, store, Silent(spec))
    assert [r.state for r in records(store, spec) if r.evaluated] == ["complete"] * 4


# What the sampler hears --------------------------------------------------------------------------


class Hearing:
    """Any sampler, with what it is told."""

    def __init__(self, sampler):
        self.sampler, self.heard = sampler, []

    def __getattr__(self, name):
        return getattr(self.sampler, name)

    def tell(self, number, values, violation, rung=None):
        self.heard.append((number, values, violation, rung))
        self.sampler.tell(number, values, violation, rung)


def hearing(spec):
    return Hearing(
        make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, spec.budget.trials)
    )


def test_the_sampler_hears_of_each_rung_and_of_the_end():
    spec = study(trials=9)
    store, sampler = new_store(spec), hearing(spec)
    drive(spec, store, sampler=sampler)
    best = next(r for r in records(store, spec) if r.state == "complete")
    latency = best.value("decode.latency_ms")
    losses = [best.value(f"text.loss{s}") for s in ("@500tokens", "@2000tokens", "")]
    assert [heard[1:] for heard in sampler.heard if heard[0] == best.number] == [
        ([losses[0], latency], 0.0, 0),
        ([losses[1], latency], 0.0, 1),
        ([losses[2], latency], 0.0, None),
    ]
    again = hearing(spec)
    drive(spec, store, sampler=again)
    assert again.heard == sampler.heard, "a replay says the same"


@pytest.mark.parametrize(
    "rungs",
    [BY_SCORE, [{"kind": "train", "tokens": 500}, {"kind": "latency"}, RUNGS[-1]]],
    ids=["a stand-in", "no latency yet"],
)
def test_the_sampler_does_not_hear_of_values_that_are_none_of_its_objectives(rungs):
    spec = study(trials=9, rungs=rungs)
    store, sampler = new_store(spec), hearing(spec)
    drive(spec, store, sampler=sampler)
    complete = [r for r in records(store, spec) if r.state == "complete"]
    assert len(complete) < 9
    assert [rung for *_, rung in sampler.heard] == [None] * len(complete)


# Several workers ---------------------------------------------------------------------------------


def test_eight_workers_never_idle_while_something_may_start():
    """Whenever the driver waits, all are busy, or nothing may go on and nothing be asked."""
    spec = study(trials=40, workers=8)
    store, idle = new_store(spec), []
    sampler = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, 40)
    driver = Driver(spec, sampler, Watching(spec), store, stop=threading.Event())
    wait = driver._next_message

    def watch():
        if len(driver._running) < 8:
            idle.append(driver._may_start() or driver._stopping.next() is not None)
        return wait()

    driver._next_message = watch
    assert driver.run()[0] == "complete"
    assert idle, "at the end there is less to do than workers"
    assert not any(idle)
    assert sum(r.evaluated for r in records(store, spec)) == 40


def test_a_slow_candidate_holds_nobody_up():
    spec = study(trials=12, workers=2, objectives=LOSS, rungs=RUNGS[1:])
    store, release = new_store(spec), threading.Event()

    def hold(stage, architecture, number):
        if number == 0:
            assert release.wait(30)
        elif stage == LONG:
            release.set()

    assert drive(spec, store, Watching(spec, hook=hold))[0] == "complete"
    told = [e for e in store.log(spec.name) if isinstance(e, Told)]
    first = next(i for i, e in enumerate(told) if e.number == 0)
    assert first >= 9, "others were judged and promoted while the first one hung"


# Stopping and resuming ---------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [{"sampler": "nsga2"}, {"sampler": "tpe"}])
def test_stop_and_resume_gives_the_same_study(driver):
    spec = study(trials=10, space=TINY, driver=driver, calibration={"trials": 3})
    whole = new_store(spec)
    drive(spec, whole)
    store, sessions = new_store(spec), 0
    while True:
        stop, sessions, counted = threading.Event(), sessions + 1, Counter()

        def after_four(kind, data, stop=stop, counted=counted):
            counted[kind] += 1
            if counted["trial"] == 4:
                stop.set()

        state, reason = drive(spec, store, stop=stop, on_event=after_four)
        if state == "complete":
            break
        assert state == "stopped"
        assert "stopped on request with" in reason
    assert sessions >= 3
    assert essence(store, spec) == essence(whole, spec)


def test_a_crash_at_any_store_call_loses_nothing_and_does_nothing_twice():
    limits = [{"metric": "params", "max": 12_000}]
    spec = study(
        trials=4,
        space=TINY,
        limits=limits,
        driver={"sampler": "nsga2"},
        rungs=RUNGS[:1] + RUNGS[2:],
    )
    whole = new_store(spec)
    counted = FlakyStore(whole, at=10**9)
    drive(spec, counted)
    expected = essence(whole, spec)
    assert {"complete", "stopped"} <= {r["state"] for r in expected}
    for at in range(1, counted.calls + 1):
        store = new_store(spec)
        with pytest.raises(Crash):
            drive(spec, FlakyStore(store, at))
        assert drive(spec, store)[0] == "complete"
        assert essence(store, spec) == expected, at


def test_a_crash_with_four_workers_evaluates_no_rung_twice_that_was_written_down():
    spec = study(trials=10, space=TINY, workers=4)
    for at in range(5, 95, 9):
        store = new_store(spec)
        with pytest.raises(Crash):
            drive(spec, FlakyStore(store, at), Watching(spec))
        before = {r.number: r for r in records(store, spec)}
        evaluator = Watching(spec)
        assert drive(spec, store, evaluator)[0] == "complete"
        for record in before.values():
            done = {m.stage for m in record.measurements} - {"static"}
            assert not done & set(evaluator.of.get(record.number, ()))
        assert sum(r.evaluated for r in records(store, spec)) == 10


def test_what_is_left_to_promote_can_be_resumed_after_the_budget_is_spent():
    spec = study(trials=9)
    stop, store = threading.Event(), new_store(spec)
    asked = Counter()

    def at_the_last(kind, data):
        asked[data["number"]] += kind == "trial"
        if len(asked) == 9 and all(asked.values()):
            stop.set()

    state, reason = drive(spec, store, stop=stop, on_event=at_the_last)
    assert (state, reason.split(",")[0]) == (
        "stopped",
        "stopped on request with 9 of 9 trials evaluated",
    )
    assert drive(spec, store)[0] == "complete"
    whole = new_store(spec)
    drive(spec, whole)
    assert essence(store, spec) == essence(whole, spec)


def test_each_trial_is_settled_once_when_nothing_of_it_will_run_any_more():
    spec = study(trials=9)
    store, settled = new_store(spec), []

    def listen(kind, data):
        if kind == "settled":
            settled.append(data["number"])

    drive(spec, store, on_event=listen)
    evaluated = [r for r in records(store, spec) if r.evaluated]
    assert sorted(settled) == [r.number for r in evaluated]
    assert settled[0] == next(r.number for r in evaluated if r.state == "complete")


def test_no_time_is_left_for_promotions_when_the_minutes_are_over():
    spec = study(trials=9, budget={"minutes": 1})
    store = new_store(spec)

    def late(stage, architecture, number):
        if number == 2:
            driver.budget._seconds = 61.0

    sampler = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, 9)
    driver = Driver(spec, sampler, Watching(spec, hook=late), store, stop=threading.Event())
    state, reason = driver.run()
    assert (state, reason.split(",")[0]) == ("complete", "1 minutes are over")
    assert {r.state for r in records(store, spec)} == {"stopped"}
