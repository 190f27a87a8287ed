"""A fake evaluator whose trainings take steps, between which they can stand still."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from nas.evaluators.base import Stage, StageResult
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec
from tests.support.fake import FakeEvaluator


class HaltingEvaluator(FakeEvaluator):
    """`steps` and `step` say how many steps a trial trains and what each of them does; `timing`
    what a latency stage does."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        steps: Callable[[int], int] = lambda number: 3,
        step: Callable[[int], None] = lambda number: None,
        timing: Callable[[int], None] = lambda number: None,
    ) -> None:
        super().__init__(spec)
        self.steps, self.step, self.timing = steps, step, timing
        self.halts = 0
        """Times that a halt was asked for."""
        self._changed = threading.Condition()
        self._closed = False
        self._halted = 0

    def run(
        self, stage: Stage, architecture: Architecture, number: int, *, repeat: int = 0
    ) -> StageResult:
        halted = 0.0
        if stage == "latency":
            self.timing(number)
        else:
            for _ in range(self.steps(number)):
                halted += self._pass()
                self.step(number)
        found = super().run(stage, architecture, number, repeat=repeat)
        return replace(found, halted_seconds=halted)

    def _pass(self) -> float:
        with self._changed:
            if not self._closed:
                return 0.0
            began = time.monotonic()
            self._halted += 1
            self._changed.wait_for(lambda: not self._closed)
            self._halted -= 1
            return time.monotonic() - began

    def halt(self) -> None:
        with self._changed:
            self.halts += 1
            self._closed = True

    def go_on(self) -> None:
        with self._changed:
            self._closed = False
            self._changed.notify_all()

    @property
    def halted(self) -> int:
        with self._changed:
            return self._halted
