"""Whatever a candidate does to its worker, it becomes a recorded failure and the next one runs."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nas.errors import Unavailable
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.worker import ProcessEvaluator
from nas.study import StudySpec

from .faults import FAULTS

HERE = Path(__file__).parent
MakeEvaluator = Callable[..., ProcessEvaluator]


@pytest.fixture
def evaluator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeEvaluator]:
    monkeypatch.syspath_prepend(str(HERE))
    made: list[ProcessEvaluator] = []

    def make(factory: str = "faults:Faults", workers: int = 1, **budget: Any) -> ProcessEvaluator:
        spec = StudySpec.model_validate(
            {
                "name": "faults",
                "space": {
                    "dim": 16,
                    "depth": 1,
                    "mixer": {"kind": "identity"},
                    "ffn": {"kind": "swiglu", "hidden": 16},
                },
                "task": {"kind": "recall"},
                "objectives": [{"metric": "recall.loss"}],
                "driver": {"library": "uniform", "workers": workers},
                "budget": {"trials": 1, **budget},
            }
        )
        made.append(ProcessEvaluator(spec, data_dir=tmp_path, factory=factory))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def candidate(architecture: Any) -> Any:
    return architecture({"kind": "identity"}, dim=16, depth=1)


def failure(made: ProcessEvaluator, candidate: Any, fault: str) -> EvaluationFailed:
    with pytest.raises(EvaluationFailed) as failed:
        made.run("train", candidate, FAULTS.index(fault))
    assert failed.value.stage == "train"
    return failed.value


def test_a_worker_outlives_failures_that_are_only_python(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator()
    pid = made.run("train", candidate, 0).environment["pid"]

    raised = failure(made, candidate, "fail")
    assert raised.kind == "error"
    assert "ValueError: seven is not a width" in raised.message
    assert "faults.py" in raised.message
    assert "fail)" in raised.message

    assert failure(made, candidate, "diverge").kind == "diverged"
    assert failure(made, candidate, "diverge").message == "the loss became nan"
    assert failure(made, candidate, "allocate").kind == "out_of_memory"
    assert failure(made, candidate, "torch_allocate").kind == "out_of_memory"
    with pytest.raises(Unavailable, match="no such device"):
        made.run("train", candidate, FAULTS.index("refuse"))

    after = made.run("train", candidate, 0).environment
    assert after["pid"] == pid
    assert after["calls"] == 8


def test_a_segfault_and_an_exit_are_told_and_the_worker_replaced(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator()
    crashed = failure(made, candidate, "segfault")
    assert crashed.kind == "died"
    assert "signal SIGSEGV" in crashed.message
    assert "Segmentation fault" in crashed.message
    left = failure(made, candidate, "leave")
    assert left.kind == "died"
    assert "exit code 3" in left.message
    assert "leaving early" in left.message
    assert "about to fail" not in left.message
    assert made.run("train", candidate, 0).environment["calls"] == 1


def test_a_candidate_that_hangs_is_ended_at_its_deadline(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator(candidate_seconds=0.3)
    hung = failure(made, candidate, "hang")
    assert hung.kind == "timeout"
    assert "0.3 s" in hung.message
    assert made.run("train", candidate, 0).environment["calls"] == 1


def test_a_candidate_that_eats_memory_is_ended_at_its_bound(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator(candidate_gib=0.5)
    eaten = failure(made, candidate, "exhaust")
    assert eaten.kind == "out_of_memory"
    assert "0.50 GiB is the bound" in eaten.message
    assert made.run("train", candidate, 0).environment["calls"] == 1


def test_a_worker_that_cannot_start_is_no_fault_of_a_candidate(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator("faults:Unbuildable")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"could not start .*nothing to see here"):
            made.run("train", candidate, 0)


def test_candidates_run_side_by_side_in_as_many_workers_as_there_are(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator(workers=2, candidate_seconds=2.0)
    made.run("train", candidate, 0)
    made.run("train", candidate, 0)
    kinds: list[str] = []
    pids: list[int] = []

    def hang() -> None:
        kinds.append(failure(made, candidate, "hang").kind)

    beside = threading.Thread(target=hang)
    beside.start()
    while beside.is_alive():
        pids.append(made.run("train", candidate, 0).environment["pid"])
    assert kinds == ["timeout"]
    assert len(pids) > 2
    assert len(set(pids)) == 1


def test_closing_ends_what_runs_and_refuses_what_comes(
    evaluator: MakeEvaluator, candidate: Any
) -> None:
    made = evaluator()
    pid = made.run("train", candidate, 0).environment["pid"]
    caught: list[BaseException] = []

    def hang() -> None:
        try:
            made.run("train", candidate, FAULTS.index("hang"))
        except Exception as error:
            caught.append(error)

    running = threading.Thread(target=hang)
    running.start()
    time.sleep(0.2)
    made.close()
    running.join(20)
    assert [type(error) for error in caught] == [Unavailable]
    assert not psutil.pid_exists(pid)
    with pytest.raises(Unavailable, match="closed"):
        made.run("train", candidate, 0)
    made.close()


PARENT = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from nas.evaluators.warm import WarmProcess

worker = WarmProcess("faults:Faults", {}, halts=True)
pid = worker.call("pid", {}, stage="train", seconds=60)
if sys.argv[2] == "hang":
    call = dict(stage="train", seconds=600)
    threading.Thread(target=lambda: worker.call("hang", {}, **call)).start()
    time.sleep(0.3)
if sys.argv[2] == "halt":
    worker.halt(1)
    call = dict(stage="train", seconds=600)
    threading.Thread(target=lambda: worker.call("step", {}, **call)).start()
    while not worker.is_halted:
        time.sleep(0.01)
print(pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("doing", ["idle", "hang", "halt"])
def test_a_worker_does_not_outlive_its_parent(doing: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(HERE), doing], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    if is_alive(worker):
        worker.kill()
        pytest.fail("the worker was still there 30 s after its parent was killed")


def is_alive(process: psutil.Process) -> bool:
    """Not so of one that has ended, even if nobody has asked for its exit code yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
