"""Who may run beside whom: timings alone, everything else together.

A training that runs when a timing wants to begin is halted between two of its steps, so that nobody
waits for its end.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from nas.evaluators.base import Stage

LATENCY: Stage = "latency"
LOOK_SECONDS = 0.002
"""How often a timing that waits looks whether all others stand still."""
REST = 0.25
"""What runs after a halt, relative to how long it was halted, before it may be halted again: else
candidates that all break a limit on a latency, one after another, could keep a training from ever
being over."""


class Halts(Protocol):
    """What an evaluator does for the lock; see `nas.evaluators.base.Evaluator`."""

    def halt(self) -> None:
        """Asks for a halt of what runs or begins, until `go_on`; returns at once."""

    def go_on(self) -> None:
        """Ends the halt."""

    @property
    def halted(self) -> int:
        """How many stages stand still now."""


class StageLock:
    """Lets as many stages run together as there are workers, and a timing only while every other
    stage is over or halted: timings taken beside a busy core are no evidence.

    A timing that waits goes before what has not begun. Timings that wait for each other take turns
    in one halt, as many as there are workers; then what was halted runs for a while. Nothing is
    halted while every worker is in use, since one has to be left to time with.
    """

    def __init__(
        self, evaluator: Halts, workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` counts seconds."""
        self._evaluator, self._workers, self._clock = evaluator, workers, clock
        self._changed = threading.Condition()
        self._shared = 0
        """Stages that have begun together, halted ones among them."""
        self._alone = False
        self._waiting = 0
        """Timings that want to begin."""
        self._halted_at: float | None = None
        """When the halt in force was asked for."""
        self._turns = 0
        """Timings that have begun in it."""
        self._rests_until = 0.0

    @contextmanager
    def hold(self, stage: Stage) -> Iterator[int]:
        """Waits until the stage may run, and frees its place afterwards. Gives the number of stages
        that are halted meanwhile, which is 0 for all but timings."""
        if stage == LATENCY:
            halted = self._enter_alone()
            leave = self._leave_alone
        else:
            halted = self._enter_shared()
            leave = self._leave_shared
        try:
            yield halted
        finally:
            leave()

    def _enter_shared(self) -> int:
        with self._changed:
            self._changed.wait_for(self._may_share)
            self._shared += 1
        return 0

    def _leave_shared(self) -> None:
        with self._changed:
            self._shared -= 1
            self._changed.notify_all()

    def _enter_alone(self) -> int:
        with self._changed:
            self._waiting += 1
            while not self._is_quiet():
                self._changed.wait(LOOK_SECONDS)
            self._waiting -= 1
            self._alone = True
            self._turns += 1
            return self._shared

    def _leave_alone(self) -> None:
        with self._changed:
            self._alone = False
            if not self._waiting or self._turns >= self._workers:
                self._end_halt()
            self._changed.notify_all()

    def _may_share(self) -> bool:
        if self._alone or self._shared >= self._workers:
            return False
        return not self._waiting or self._rests

    def _is_quiet(self) -> bool:
        """Whether a timing may begin. Asks for a halt where that is what it takes."""
        if self._alone:
            return False
        if not self._shared:
            return True
        if self._halted_at is None:
            if self._rests or self._shared >= self._workers:
                return False
            self._begin_halt()
        # none that is halted can leave or go on without this lock, or it counts no longer; so
        # equal numbers are the same stages
        return self._evaluator.halted == self._shared

    @property
    def _rests(self) -> bool:
        return self._clock() < self._rests_until

    def _begin_halt(self) -> None:
        self._halted_at, self._turns = self._clock(), 0
        self._evaluator.halt()

    def _end_halt(self) -> None:
        if self._halted_at is None:
            return
        self._evaluator.go_on()
        now = self._clock()
        self._rests_until = now + REST * (now - self._halted_at)
        self._halted_at = None
