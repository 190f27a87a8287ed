"""The evaluator of a study: stages run in worker processes that are kept warm."""

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import Unavailable
from nas.evaluators.base import EvaluationFailed, Metric, Stage, StageResult
from nas.evaluators.checkpoints import Checkpoints
from nas.evaluators.composed.parts import Part
from nas.evaluators.composed.records import ModelLatency, PartLatency
from nas.evaluators.composed.settings import Mode
from nas.evaluators.warm import WarmProcess
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec

FACTORY = "nas.evaluators.stages:StageRunner"
PARTS_AT_ONCE = 24


class ProcessEvaluator:
    """One process for each worker of the study; they start when this is made, and a candidate waits
    for one that is free. Torch is not imported in this process."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        data_dir: Path,
        keep_weights: bool = True,
        accept_noise: bool = False,
        capture_steps: bool = True,
        factory: str = FACTORY,
    ) -> None:
        """`data_dir` holds ``weights/``, ``checkpoints/`` and ``cache/``; `accept_noise` and
        `capture_steps` as in `Settings`."""
        self.spec = spec
        self.threads = spec.target.threads
        self._checkpoints = Checkpoints(data_dir.absolute(), spec.name)
        self._factory = factory
        self._arguments: dict[str, Any] = {
            "spec": spec.model_dump(mode="json"),
            "data_dir": str(data_dir.absolute()),
            "threads": self.threads,
            "keep_weights": keep_weights,
            "accept_noise": accept_noise,
            "capture_steps": capture_steps,
        }
        self._lock = threading.Lock()
        self._closed = False
        self._halts = 0
        """Halts so far."""
        self._is_halting = False
        self._workers = [self._start() for _ in range(spec.driver.workers)]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(spec.driver.workers):
            self._free.put(index)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Everything that the study can measure."""
        return self.spec.metrics

    @property
    def stages(self) -> Sequence[Stage]:
        """The study's rungs."""
        return self.spec.stages

    def run(
        self, stage: Stage, architecture: Architecture, number: int, *, repeat: int = 0
    ) -> StageResult:
        """One stage in the next free worker; one that has ended is replaced first.

        Raises:
            EvaluationFailed: the candidate's failure.
            Unavailable: the target's device is not there, no worker can be started, or the
                evaluator was closed, also meanwhile.
            BadInput: the data of a task cannot be had any more.
        """
        arguments = {
            "stage": stage,
            "architecture": architecture.model_dump(mode="json"),
            "number": number,
            "repeat": repeat,
        }
        result: StageResult = self._call("run", arguments, stage)
        return result

    def latency(self, architecture: Architecture) -> StageResult:
        """Of what need not be a candidate of the study. Raises as `run` does."""
        return self.run("latency", architecture, -1)

    def measure_parts(self, parts: Sequence[Part], modes: Sequence[Mode]) -> list[PartLatency]:
        """Times of parts, in one worker. Raises as `run` does."""
        found: list[PartLatency] = []
        for start in range(0, len(parts), PARTS_AT_ONCE):  # the deadline is for so many
            group = list(parts[start : start + PARTS_AT_ONCE])
            found += self._call("parts", {"parts": group, "modes": tuple(modes)}, "latency")
        return found

    def measure_models(
        self, architectures: Sequence[Architecture], modes: Sequence[Mode]
    ) -> list[ModelLatency]:
        """Times of whole models, in one worker. Raises as `run` does."""
        given = [architecture.model_dump(mode="json") for architecture in architectures]
        arguments = {"architectures": given, "modes": tuple(modes)}
        found: list[ModelLatency] = self._call("models", arguments, "latency")
        return found

    def halt(self) -> None:
        """Trainings halt before their next step and held-out batch, and scores before the next one;
        nothing else does."""
        with self._lock:
            self._halts += 1
            self._is_halting = True
            for worker in self._workers:
                worker.halt(self._halts)

    def go_on(self) -> None:
        """Ends the halt."""
        with self._lock:
            self._is_halting = False
            for worker in self._workers:
                worker.go_on()

    @property
    def halted(self) -> int:
        """How many workers stand still. A halted one is always in a call."""
        return sum(worker.is_halted for worker in self._workers)

    def forget(self, number: int) -> None:
        """Deletes the checkpoints of a trial that will not be resumed, at once."""
        self._checkpoints.forget(number)

    def _call(self, method: str, arguments: Mapping[str, Any], stage: Stage) -> Any:
        """Asks the next free worker. What it says of a stage says how long that was halted."""
        index = self._free.get()
        try:
            return self._call_worker(self._worker(index), method, arguments, stage)
        except Exception:
            self._refuse_if_closed()
            raise
        finally:
            self._free.put(index)

    def _call_worker(
        self, worker: WarmProcess, method: str, arguments: Mapping[str, Any], stage: Stage
    ) -> Any:
        before = worker.halted_seconds
        try:
            found = worker.call(
                method,
                arguments,
                stage=stage,
                seconds=self.spec.budget.candidate_seconds,
                memory_bytes=round(self.spec.budget.candidate_gib * 2**30),
            )
        except EvaluationFailed as failed:
            failed.halted_seconds = worker.halted_seconds - before
            raise
        if isinstance(found, StageResult):
            return replace(found, halted_seconds=worker.halted_seconds - before)
        return found

    def close(self) -> None:
        """Ends the workers now, whatever they do. May be called again, and from any thread."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()

    def _worker(self, index: int) -> WarmProcess:
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if not self._workers[index].alive:
                self._workers[index] = self._start()
            return self._workers[index]

    def _start(self) -> WarmProcess:
        threads = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        worker = WarmProcess(self._factory, self._arguments, environment=threads, halts=True)
        if self._is_halting:
            worker.halt(self._halts)
        return worker

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._closed_error() from None

    def _closed_error(self) -> Unavailable:
        return Unavailable(f"the evaluator of study {self.spec.name!r} was closed")
