"""Real trainings that stand still while a latency is timed: nothing that is found differs."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.driver import Driver
from nas.driver.sampling import sampler_of
from nas.evaluators import stages
from nas.evaluators.base import StageResult
from nas.evaluators.build import initialise
from nas.evaluators.gate import Gate, GateKeeper, open_gate, wait_until_idle
from nas.evaluators.schedule import Batching
from nas.evaluators.scores.run import scores
from nas.evaluators.scores.spec import SCORES
from nas.evaluators.stages import StageRunner
from nas.evaluators.tasks.recall.spec import Recall
from nas.evaluators.train import TrainingRun
from nas.evaluators.worker import ProcessEvaluator
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.driving import create, records

from .test_gate import Beside, until

STEPS = 6
TASK = Recall(vocab=16, context=16, pairs=2, test_sequences=8)


def begun(candidate: Any, gate: Callable[[], None]) -> TrainingRun:
    return TrainingRun(
        initialise(candidate, 0),
        TASK.open(0),
        batching=Batching(STEPS, 4),
        peak=1e-2,
        context=TASK.tokens_per_sequence,
        seed=0,
        gate=gate,
    )


def test_a_training_that_is_halted_at_every_step_is_the_same_bit_for_bit(architecture: Any) -> None:
    keeper = GateKeeper()
    gate = Gate(*map(os.dup, keeper.fds))
    halts: list[int] = []

    def halted() -> None:
        halts.append(len(halts) + 1)
        keeper.close(halts[-1])
        letting = Beside(lambda: (until(lambda: keeper.is_halted), keeper.open()))
        gate()
        letting.join()

    candidate = architecture(dim=16, depth=1)
    found = []
    for run in (begun(candidate, open_gate), begun(candidate, halted)):
        run.advance(STEPS)
        found.append((run.trained(), run.tensors()))
    (plain, plain_tensors), (stopped, stopped_tensors) = found
    assert len(halts) > STEPS, "held-out batches pass the gate, too"
    assert stopped == plain
    assert list(stopped_tensors) == list(plain_tensors)
    for name, tensor in plain_tensors.items():
        assert torch.equal(tensor, stopped_tensors[name]), name


def test_every_score_is_a_place_to_halt(architecture: Any) -> None:
    passed: list[None] = []
    data = TASK.open(0)
    given = {"seed": 0, "batches": 1, "sequences": 2}
    found = scores(architecture(dim=16, depth=1), data, gate=lambda: passed.append(None), **given)
    assert len(passed) == len(SCORES)
    assert found == scores(architecture(dim=16, depth=1), data, **given)


@pytest.mark.parametrize(("threads", "settles"), [(1, open_gate), (2, wait_until_idle)])
def test_threads_that_look_for_more_work_are_waited_for(
    threads: int, settles: Any, tmp_path: Path
) -> None:
    keeper = GateKeeper()
    gate = Gate(*map(os.dup, keeper.fds))
    before = torch.get_num_threads()
    given = study(target={"contexts": [8], "threads": threads}).model_dump(mode="json")
    StageRunner(spec=given, data_dir=str(tmp_path), threads=threads, keep_weights=False, gate=gate)
    torch.set_num_threads(before)
    assert gate.settle is settles


def test_on_a_gpu_its_queue_is_waited_for_before_a_halt_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("check_device", "_bound_device_memory"):
        monkeypatch.setattr(stages, name, lambda *given: None)
    monkeypatch.setattr(stages, "Pricing", lambda **given: None)
    monkeypatch.setattr(stages, "_device_name", lambda device: device)
    synchronised: list[bool] = []
    cuda = SimpleNamespace(synchronize=lambda: synchronised.append(True))
    keeper = GateKeeper()
    gate = Gate(*map(os.dup, keeper.fds))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "cuda", cuda)
        given = study(target={"contexts": [8], "device": "cuda"}).model_dump(mode="json")
        StageRunner(spec=given, data_dir=str(tmp_path), threads=1, keep_weights=False, gate=gate)
    keeper.close(1)
    passing = Beside(gate)
    until(lambda: keeper.is_halted)
    assert synchronised == [True]
    keeper.open()
    passing.join()


def study(**changes: Any) -> StudySpec:
    given = {
        "name": "halted",
        "space": {
            "dim": {"choice": [16, 24, 32]},
            "depth": {"choice": [1, 2]},
            "mixer": {"kind": "identity"},
            "ffn": {"kind": "swiglu", "hidden": 16},
        },
        "task": TASK.model_dump(mode="json"),
        "objectives": [{"metric": "recall.loss"}, {"metric": "decode.latency_ms"}],
        "target": {"contexts": [8]},
        "rungs": [{"kind": "train", "tokens": 4096}, {"kind": "latency"}],
        "budget": {"trials": 2},
        "driver": {"library": "uniform", "workers": 2},
        "control": False,
    }
    return StudySpec.model_validate({**given, **changes})


class Meeting(ProcessEvaluator):
    """Lets trial 0 end its training when trial 1 is about to begin its own, and that begin when a
    timing has asked for a halt: so trial 0 is timed while trial 1 stands before its first step."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.second, self.asked = threading.Event(), threading.Event()
        super().__init__(*given, **named)

    def run(self, stage: str, architecture: Any, number: int, *, repeat: int = 0) -> StageResult:
        if stage == "train" and number == 0:
            assert self.second.wait(60)
        if stage == "train" and number == 1:
            self.second.set()
            assert self.asked.wait(60)
        return super().run(stage, architecture, number, repeat=repeat)

    def halt(self) -> None:
        super().halt()
        self.asked.set()


def test_a_latency_begins_while_a_training_is_under_way_and_both_come_out_right(
    tmp_path: Path,
) -> None:
    spec, store = study(), MemoryStore()
    create(store, spec)
    evaluator = Meeting(spec, data_dir=tmp_path, accept_noise=True)
    driver = Driver(spec, sampler_of(spec), evaluator, store, stop=threading.Event())
    assert driver.run()[0] == "complete"
    first, second = records(store, spec)
    assert (first.state, second.state) == ("complete", "complete")
    assert first.environment is not None
    assert store.environment(first.environment)["halted_beside"] == 1
    for record in (first, second):
        alone = evaluator.run("train", store.architecture(record.architecture), 7)
        assert record.seconds > 0.0
        assert alone.halted_seconds == 0.0
        trained = tuple(m for m in record.measurements if m.stage == "train")
        assert trained == alone.measurements
        assert store.curves(spec.name, record.number) == alone.curves
        latency = next(m for m in record.measurements if m.metric == "decode.latency_ms")
        assert latency.value > 0.0
    evaluator.close()
