"""Worker processes that stand still between two steps while something is timed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.errors import Unavailable
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.gate import Gate, GateKeeper, wait_until_idle
from nas.evaluators.warm import WarmProcess
from nas.evaluators.worker import ProcessEvaluator

from .faults import FAULTS
from .test_worker import MakeEvaluator, candidate, evaluator  # noqa: F401 - fixtures

HERE = Path(__file__).parent
STEP = FAULTS.index("step")


def until(condition: Callable[[], bool]) -> None:
    """Waits; a test that would wait for ever fails."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.001)


class Beside:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.found: Any = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.found = self._call()
        except Exception as error:
            self.found = error

    def join(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.found


# The gate ----------------------------------------------------------------------------------------


def pair() -> tuple[GateKeeper, Gate]:
    """Both sides in this process."""
    keeper = GateKeeper()
    return keeper, Gate(*map(os.dup, keeper.fds))


def test_an_open_gate_is_passed_and_a_closed_one_holds_until_it_is_opened() -> None:
    keeper, gate = pair()
    gate()
    assert not keeper.is_halted
    keeper.close(1)
    assert not keeper.is_halted, "nobody has come to the gate yet"
    passing = Beside(gate)
    until(lambda: keeper.is_halted)
    keeper.open()
    passing.join()
    assert not keeper.is_halted
    gate()


def test_what_stood_at_an_earlier_halt_is_not_taken_to_stand_at_this_one() -> None:
    keeper, _ = pair()
    keeper.close(1)
    keeper._words[1] = 1  # the worker has come to the gate, and then sees that it may go on
    assert keeper.is_halted
    keeper.open()
    keeper.close(2)
    assert not keeper.is_halted


def test_a_halt_that_follows_at_once_holds_as_well() -> None:
    keeper, gate = pair()
    passed: list[None] = []
    over = threading.Event()

    def steps() -> None:
        while not over.is_set():
            gate()
            passed.append(None)

    keeper.close(1)
    stepping = Beside(steps)
    for number in range(2, 50):
        until(lambda: keeper.is_halted)
        keeper.open()
        keeper.close(number)
    until(lambda: keeper.is_halted)
    before = len(passed)
    over.set()
    assert len(passed) == before
    keeper.open()
    stepping.join()
    assert len(passed) == before + 1


def test_opening_a_gate_that_nobody_passes_never_blocks() -> None:
    keeper, gate = pair()
    for _ in range(100_000):  # more than a pipe holds
        keeper.open()
    keeper.close(1)
    passing = Beside(gate)
    until(lambda: keeper.is_halted)
    keeper.open()
    passing.join()


def test_what_runs_on_by_itself_is_waited_for_before_the_halt_is_told() -> None:
    keeper, gate = pair()
    told: list[bool] = []
    gate.settle = lambda: told.append(keeper.is_halted)
    gate()
    assert told == []
    keeper.close(1)
    passing = Beside(gate)
    until(lambda: keeper.is_halted)
    keeper.open()
    passing.join()
    assert told == [False]


def test_the_time_in_halts_is_added_up() -> None:
    keeper, gate = pair()
    assert keeper.seconds == 0.0
    sums = [0.0]
    for number in (1, 2):
        keeper.close(number)
        passing = Beside(gate)
        until(lambda: keeper.is_halted)
        during = keeper.seconds
        assert during >= sums[-1]
        keeper.open()
        passing.join()
        sums.append(keeper.seconds)
        assert sums[-1] >= during
    assert 0.0 < sums[1] < sums[2] == keeper.seconds


def test_a_process_whose_threads_still_look_for_work_is_not_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = [0.0, 0.005, 0.005, 0.009, 0.009, 0.0091]  # before and after each nap
    naps: list[float] = []
    clock = SimpleNamespace(process_time=lambda: taken.pop(0), sleep=naps.append)
    monkeypatch.setattr("nas.evaluators.gate.time", clock)
    wait_until_idle()
    assert len(naps) == 3
    taken[:] = [float(index) for index in range(1000)]
    wait_until_idle()  # something else computes in it all the time
    assert len(taken) > 500


# A worker process --------------------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmProcess]:
    monkeypatch.syspath_prepend(str(HERE))
    made = WarmProcess("faults:Faults", {}, halts=True)
    yield made
    made.kill()


def test_the_time_in_a_halt_does_not_count_towards_the_deadline(worker: WarmProcess) -> None:
    worker.call("pid", {}, stage="train", seconds=60)
    seconds = 1.0
    worker.halt(1)
    stepping = Beside(lambda: worker.call("step", {}, stage="train", seconds=seconds))
    until(lambda: worker.is_halted)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1.5 * seconds)
    worker.go_on()
    assert stepping.join() is None
    assert worker.alive
    assert worker.halted_seconds >= 1.5 * seconds


def test_a_worker_without_a_gate_is_never_halted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    made = WarmProcess("faults:Faults", {})
    made.halt(1)
    made.call("step", {}, stage="train", seconds=60)
    assert not made.is_halted
    made.go_on()
    assert made.halted_seconds == 0.0
    made.kill()


# The workers of a study --------------------------------------------------------------------------


def halted_steps(made: ProcessEvaluator, candidate: Any) -> Beside:  # noqa: F811
    """A training that stands still."""
    made.halt()
    stepping = Beside(lambda: made.run("train", candidate, STEP))
    until(lambda: made.halted == 1)
    return stepping


def test_a_timing_finds_a_worker_while_the_others_stand_still(
    evaluator: MakeEvaluator,  # noqa: F811
    candidate: Any,  # noqa: F811
) -> None:
    made = evaluator(workers=2)
    stepping = halted_steps(made, candidate)
    timed = made.run("latency", candidate, 0)
    assert timed.halted_seconds == 0.0
    assert made.halted == 1
    made.go_on()
    trained = stepping.join()
    assert trained.halted_seconds > 0.0
    assert made.halted == 0
    assert made.run("train", candidate, STEP).halted_seconds == 0.0


def test_a_worker_that_dies_in_a_halt_has_died_as_ever(
    evaluator: MakeEvaluator,  # noqa: F811
    candidate: Any,  # noqa: F811
) -> None:
    made = evaluator()
    stepping = halted_steps(made, candidate)
    os.kill(made._workers[0].pid, signal.SIGKILL)
    failed = stepping.join()
    assert isinstance(failed, EvaluationFailed)
    assert failed.kind == "died"
    assert "SIGKILL" in failed.message
    assert failed.halted_seconds > 0.0
    assert made.halted == 0

    again = Beside(lambda: made.run("train", candidate, STEP))  # the halt is in force for it, too
    until(lambda: made.halted == 1)
    made.go_on()
    assert again.join().environment["calls"] == 1


def test_closing_in_a_halt_ends_everything(
    evaluator: MakeEvaluator,  # noqa: F811
    candidate: Any,  # noqa: F811
) -> None:
    made = evaluator()
    stepping = halted_steps(made, candidate)
    made.close()
    assert isinstance(stepping.join(), Unavailable)
    assert made.halted == 0
    made.halt()
    made.go_on()
