"""Who runs beside whom: schedules of the lock, and studies whose trainings stand still."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nas.driver import Driver, evaluation
from nas.driver.sampling import sampler_of
from nas.driver.stagelock import REST, StageLock
from nas.evaluators.base import EvaluationFailed
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.driving import create, drive, records
from tests.support.fake import FakeEvaluator, small_study
from tests.support.halting import HaltingEvaluator


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.001)


class Trainings:
    """What the lock sees of an evaluator; `halted` is what it finds, look after look, the last of
    it for ever."""

    def __init__(self, *halted: int) -> None:
        self.looks = list(halted)
        self.said: list[str] = []

    def halt(self) -> None:
        self.said.append("halt")

    def go_on(self) -> None:
        self.said.append("go on")

    @property
    def halted(self) -> int:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


class Clock:
    """Stands still until it is moved, and counts who looks."""

    def __init__(self) -> None:
        self.now, self.looks = 100.0, 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now


class Stage:
    """A stage in a thread of its own, over when it is told so."""

    def __init__(self, lock: StageLock, name: str, trainings: Trainings | None = None) -> None:
        self.began = threading.Event()
        self.beside: int | None = None
        self._over = threading.Event()
        self._trainings, self._name = trainings, name
        self._thread = threading.Thread(target=self._run, args=(lock,), daemon=True)
        self._thread.start()

    def _run(self, lock: StageLock) -> None:
        with lock.hold(self._name) as self.beside:
            if self._trainings:
                self._trainings.said.append(self._name)
            self.began.set()
            assert self._over.wait(60)

    def has_begun(self) -> "Stage":
        assert self.began.wait(60)
        return self

    def ends(self) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def waiting(lock: StageLock, count: int) -> None:
    until(lambda: lock._waiting == count)


# Schedules ---------------------------------------------------------------------------------------


def test_a_timing_begins_when_all_others_stand_still_and_not_before() -> None:
    seen = Trainings(0, 1, 1, 2)
    lock = StageLock(seen, 3)
    trainings = [Stage(lock, "train").has_begun() for _ in range(2)]
    timing = Stage(lock, "latency", seen).has_begun()
    assert seen.looks == [2], "it was not to begin before both stood still"
    assert timing.beside == 2
    timing.ends()
    assert seen.said == ["halt", "latency", "go on"]
    for each in trainings:
        each.ends()


def test_what_cannot_stand_still_is_waited_for() -> None:
    seen = Trainings(0)
    lock = StageLock(seen, 2)
    training = Stage(lock, "train").has_begun()
    timing = Stage(lock, "latency", seen)
    until(lambda: seen.said == ["halt"])
    assert not timing.began.is_set()
    training.ends()
    assert timing.has_begun().beside == 0
    timing.ends()
    assert seen.said == ["halt", "latency", "go on"]


def test_nothing_is_halted_where_nothing_runs() -> None:
    seen = Trainings(0)
    lock = StageLock(seen, 4)
    Stage(lock, "latency").has_begun().ends()
    assert seen.said == []


def test_nothing_is_halted_while_no_worker_is_left_to_time_with() -> None:
    """Else those that stand still would wait for the timing, and it for one of their workers."""
    seen = Trainings(2)
    lock = StageLock(seen, 2)
    trainings = [Stage(lock, "train").has_begun() for _ in range(2)]
    more = Stage(lock, "train")
    timing = Stage(lock, "latency", seen)
    waiting(lock, 1)
    assert not more.began.is_set(), "there are two workers"
    assert seen.said == []
    seen.looks = [1]
    trainings[0].ends()
    assert timing.has_begun().beside == 1
    timing.ends()
    more.has_begun().ends()
    trainings[1].ends()


def test_with_one_worker_a_timing_waits_for_the_training() -> None:
    seen = Trainings(1)
    lock = StageLock(seen, 1)
    training = Stage(lock, "train").has_begun()
    timing = Stage(lock, "latency", seen)
    waiting(lock, 1)
    training.ends()
    timing.has_begun().ends()
    assert seen.said == ["latency"]


def test_nothing_begins_while_a_timing_waits_or_runs() -> None:
    seen = Trainings(0)
    lock = StageLock(seen, 4)
    training = Stage(lock, "train", seen).has_begun()
    timing = Stage(lock, "latency", seen)
    waiting(lock, 1)
    later = Stage(lock, "train", seen)
    seen.looks = [1]
    timing.has_begun()
    assert not later.began.is_set()
    timing.ends()
    later.has_begun().ends()
    training.ends()
    assert seen.said == ["train", "halt", "latency", "go on", "train"]


def test_timings_that_wait_take_turns_in_one_halt() -> None:
    seen = Trainings(0)
    lock = StageLock(seen, 4)
    training = Stage(lock, "train").has_begun()
    timings = [Stage(lock, "latency", seen) for _ in range(3)]
    waiting(lock, 3)
    seen.looks = [1]
    ended: list[Stage] = []

    def begun() -> list[Stage]:
        return [each for each in timings if each.began.is_set() and each not in ended]

    for _ in timings:
        until(lambda: bool(begun()))
        (first,) = begun()
        ended.append(first)
        first.ends()
    assert seen.said == ["halt", "latency", "latency", "latency", "go on"]
    training.ends()


def test_a_training_goes_on_between_endless_timings() -> None:
    """Two of three workers time candidate after candidate, each of which breaks a limit."""
    seen, clock = Trainings(1), Clock()
    lock = StageLock(seen, 3, clock)
    training = Stage(lock, "train").has_begun()
    pending = [Stage(lock, "latency", seen)]
    for _ in range(3):
        waiting(lock, 0)
        pending.append(Stage(lock, "latency", seen))
        waiting(lock, 1)
        clock.now += 8.0
        pending.pop(0).ends()
        if len(seen.said) == 5:
            break
    assert seen.said == ["halt", "latency", "latency", "latency", "go on"]

    def is_refused() -> None:
        looks = clock.looks
        until(lambda: clock.looks > looks + 5)
        assert seen.said[-1] == "go on"

    is_refused()
    clock.now += 0.99 * REST * 24.0
    is_refused()
    Stage(lock, "train").has_begun().ends()  # nobody has to idle meanwhile
    clock.now += 0.02 * REST * 24.0
    pending.pop().has_begun().ends()
    assert seen.said[5:] == ["halt", "latency", "go on"]
    training.ends()


def test_a_timing_need_not_let_anything_rest_that_is_over() -> None:
    seen, clock = Trainings(1), Clock()
    lock = StageLock(seen, 2, clock)
    training = Stage(lock, "train").has_begun()
    timing = Stage(lock, "latency").has_begun()
    clock.now += 8.0
    timing.ends()
    training.ends()
    Stage(lock, "latency").has_begun().ends()


def test_a_place_is_freed_by_what_fails_in_it() -> None:
    seen = Trainings(1)
    lock = StageLock(seen, 2)
    with pytest.raises(ZeroDivisionError), lock.hold("train"):
        raise ZeroDivisionError
    with ExitStack() as stack:
        stack.enter_context(lock.hold("train"))
        with pytest.raises(ZeroDivisionError), lock.hold("latency"):
            raise ZeroDivisionError
    assert seen.said == ["halt", "go on"]
    Stage(lock, "latency").has_begun().ends()


# Studies -----------------------------------------------------------------------------------------


LATENCY, TRAINING = {"kind": "latency"}, {"kind": "train", "tokens": 1000}


def study(
    *, workers: int, trials: int = 12, rungs: Iterable[Any] = (LATENCY, TRAINING), **changes: Any
) -> StudySpec:
    driver = {"library": "uniform", "workers": workers}
    given = small_study(driver=driver, rungs=list(rungs), **changes)
    return StudySpec.model_validate({**given, "budget": {"trials": trials}})


def run(spec: StudySpec, evaluator: Any) -> MemoryStore:
    store = MemoryStore()
    create(store, spec)
    assert drive(spec, store, evaluator=lambda _: evaluator)[0] == "complete"
    return store


def halted_beside(store: MemoryStore, spec: StudySpec) -> Iterable[int]:
    for record in records(store, spec):
        if record.environment:
            yield store.environment(record.environment).get("halted_beside", 0)


def test_a_latency_is_timed_while_a_training_is_under_way_and_stands_still() -> None:
    """The trainings go on until one of them was halted, so that nothing would end without."""
    spec = study(workers=4)
    lock, stepping, beside = threading.Lock(), [0], []
    made: list[HaltingEvaluator] = []

    def step(number: int) -> None:
        with lock:
            stepping[0] += 1
        time.sleep(0.001)
        with lock:
            stepping[0] -= 1

    def timing(number: int) -> None:
        for _ in range(5):
            with lock:
                beside.append(stepping[0])
            time.sleep(0.0005)

    class UntilHalted(HaltingEvaluator):
        def run(self, stage: str, *given: Any, **named: Any) -> Any:
            found = super().run(stage, *given, **named)
            if stage == "train" and given[1] == 0:
                deadline = time.monotonic() + 60
                while not found.halted_seconds and time.monotonic() < deadline:
                    found = super().run(stage, *given, **named)
            return found

    made.append(UntilHalted(spec, step=step, timing=timing))
    store = run(spec, made[0])
    assert sum(record.evaluated for record in records(store, spec)) == 12
    assert set(beside) == {0}
    assert max(halted_beside(store, spec)) >= 1
    assert made[0].halts >= 1
    assert made[0].halted == 0


def test_halting_changes_nothing_that_is_found() -> None:
    spec = study(workers=4)
    plain, halting = FakeEvaluator(spec), HaltingEvaluator(spec, step=lambda _: time.sleep(0.002))
    found = [records(run(spec, evaluator), spec) for evaluator in (plain, halting)]
    assert halting.halts >= 1
    measured = [{r.architecture: r.measurements for r in each if r.evaluated} for each in found]
    assert measured[0] == measured[1]


def test_a_trial_is_charged_with_the_time_in_which_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(monotonic=clock))

    class Halted(FakeEvaluator):
        def run(self, stage: str, *given: Any, **named: Any) -> Any:
            clock.now += 5.0
            found = super().run(stage, *given, **named)
            if stage == "latency":
                return found
            if given[1] == 0:
                return replace(found, halted_seconds=3.0)
            failed = EvaluationFailed("train", "diverged", "the loss is nan")
            failed.halted_seconds = 4.0
            raise failed

    spec = study(workers=1, trials=2)
    first, second = (r for r in records(run(spec, Halted(spec)), spec) if r.evaluated)
    assert first.seconds == 5.0 + 2.0
    assert second.seconds == 5.0 + 1.0


def test_a_noisy_machine_is_waited_for_without_holding_up_the_trainings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trial 0 trains until the timing that has to be repeated has begun to wait."""
    spec = study(workers=2, trials=2, rungs=[TRAINING, LATENCY])
    pause, trained = threading.Event(), threading.Event()
    tries: list[int] = []

    def wait(seconds: float) -> bool:
        pause.set()
        assert trained.wait(60), "the training stood still while the machine was waited for"
        return False

    def step(number: int) -> None:
        if number == 0:
            until(lambda: evaluator._closed or pause.is_set())
            if pause.is_set():
                trained.set()

    class Noisy(HaltingEvaluator):
        def run(self, stage: str, *given: Any, **named: Any) -> Any:
            if stage == "latency" and given[1] == 1:
                tries.append(given[1])
                if len(tries) == 1:
                    raise EvaluationFailed("latency", "too_noisy", "busy")
            return super().run(stage, *given, **named)

    evaluator = Noisy(spec, step=step, steps=lambda number: 3 if number == 0 else 0)
    store = MemoryStore()
    create(store, spec)
    driver = Driver(spec, sampler_of(spec), evaluator, store, stop=threading.Event())
    monkeypatch.setattr(driver._abandoned, "wait", wait)
    assert driver.run()[0] == "complete"
    assert len(tries) == 2
    assert {record.state for record in records(store, spec)} == {"complete"}


def test_more_seeds_than_workers_wait_for_their_turn() -> None:
    """Further seeds start together, however few workers there are."""
    spec = study(
        workers=2,
        trials=4,
        objectives=[{"metric": "text.loss"}],
        confirm={"seeds": 6},
        rungs=[TRAINING],
    )
    lock, training, together = threading.Lock(), [0], []

    def step(number: int) -> None:
        with lock:
            training[0] += 1
            together.append(training[0])
        time.sleep(0.001)
        with lock:
            training[0] -= 1

    store = run(spec, HaltingEvaluator(spec, step=step))
    assert max(together) == 2
    assert any(m.repeats > 1 for r in records(store, spec) for m in r.measurements)


def test_stopping_in_a_halt_ends_at_once() -> None:
    """A training that never ends stands still, and a timing beside it that never ends either."""
    spec = study(workers=2, trials=4)
    closed, stop = threading.Event(), threading.Event()

    class Endless(HaltingEvaluator):
        def run(self, stage: str, *given: Any, **named: Any) -> Any:
            if stage == "latency" and self.halted:
                stop.set()
                assert closed.wait(60)
                raise EvaluationFailed("latency", "died", "closed")
            if stage == "train" and given[1] == 0:
                until(lambda: self._closed or closed.is_set())
            return super().run(stage, *given, **named)

        def close(self) -> None:
            closed.set()
            self.go_on()

    store = MemoryStore()
    create(store, spec)
    evaluator = Endless(spec)
    driver = Driver(spec, sampler_of(spec), evaluator, store, stop=stop)
    assert driver.run()[0] == "stopped"
    assert closed.is_set()
    until(lambda: evaluator.halted == 0)
