"""Timing with a clock that moves only when told to."""

import gc

import pytest

from nas.evaluators.latency.timing import Effort, Subject, measure, summarise


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Subject:
        return Subject(run=lambda _: self.advance(seconds))

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_run_is_timed_in_milliseconds(clock: FakeClock) -> None:
    timing = measure({"a": clock.takes(0.25)}, Effort(seconds=1), clock=clock)["a"]
    assert timing.median == pytest.approx(250)
    assert timing.low == pytest.approx(250)
    assert timing.repeats == 3


def test_the_budget_counts_warm_up_and_preparation(clock: FakeClock) -> None:
    subject = Subject(
        run=lambda _: clock.advance(0.01), prepare=lambda: clock.advance(0.09) or object()
    )
    effort = Effort(seconds=1.0, min_repeats=1, max_repeats=100, warm_ups=2)
    timing = measure({"a": subject}, effort, clock=clock)["a"]
    assert timing.repeats in (8, 9)
    assert timing.median == pytest.approx(10)
    assert clock.now - 100 == pytest.approx(0.1 * (timing.repeats + 2))


def test_repeats_have_a_least_and_a_most(clock: FakeClock) -> None:
    slow = measure({"a": clock.takes(60)}, Effort(seconds=1, min_repeats=4), clock=clock)
    assert slow["a"].repeats == 4
    fast = measure({"a": clock.takes(1e-6)}, Effort(seconds=1, max_repeats=20), clock=clock)
    assert fast["a"].repeats == 20


def test_subjects_take_turns_and_leave_when_they_have_enough(clock: FakeClock) -> None:
    order: list[str] = []

    def subject(name: str, seconds: float) -> Subject:
        return Subject(run=lambda _: (order.append(name), clock.advance(seconds)))

    subjects = {"slow": subject("slow", 1.0), "fast": subject("fast", 0.1)}
    measure(subjects, Effort(seconds=1.0, min_repeats=2, max_repeats=4, warm_ups=0), clock=clock)
    assert order == ["slow", "fast", "slow", "fast", "fast", "fast"]


def test_each_run_gets_what_was_prepared_for_it(clock: FakeClock) -> None:
    made: list[object] = []
    used: list[object] = []

    def prepare() -> object:
        made.append(object())
        return made[-1]

    measure({"a": Subject(used.append, prepare)}, Effort(seconds=0, warm_ups=1), clock=clock)
    assert len(used) == 4
    assert used == made
    assert len(set(map(id, used))) == 4


def test_the_device_is_waited_for_inside_the_timed_part(clock: FakeClock) -> None:
    pending = [0.0]

    def launch(_: object) -> None:
        pending[0] += 0.5

    def synchronize() -> None:
        clock.advance(pending[0])
        pending[0] = 0.0

    effort = Effort(seconds=0)
    timing = measure({"a": Subject(launch)}, effort, clock=clock, synchronize=synchronize)["a"]
    assert timing.median == pytest.approx(500)


def test_garbage_is_not_collected_meanwhile(clock: FakeClock) -> None:
    seen: list[bool] = []
    measure({"a": Subject(lambda _: seen.append(gc.isenabled()))}, Effort(seconds=0), clock=clock)
    assert seen
    assert not any(seen)
    assert gc.isenabled()


def test_garbage_collection_returns_after_an_error(clock: FakeClock) -> None:
    def fail(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        measure({"a": Subject(fail)}, Effort(seconds=0), clock=clock)
    assert gc.isenabled()


def test_percentiles_are_interpolated() -> None:
    timing = summarise([0.011, 0.001, 0.006])
    assert (timing.low, timing.median, timing.high) == pytest.approx((2, 6, 10))
    assert summarise([0.003]).high == pytest.approx(3)
