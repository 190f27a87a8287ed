"""One candidate through the stages of its evaluation, in a thread of its own.

A thread tells what happens to it through a queue and writes nothing, so that the driver alone
decides what is recorded.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.driver.composer import STAGE as COMPOSED
from nas.driver.composer import Composer, measured_instead
from nas.driver.limits import violations
from nas.driver.stagelock import LATENCY, StageLock
from nas.evaluators.base import (
    CurvePoint,
    EvaluationFailed,
    Evaluator,
    Stage,
    StageResult,
)
from nas.record import Failure, Measurement, Proposal, TrialRecord
from nas.search_spaces.architecture import Architecture
from nas.study import Limit

NOISY = ("too_noisy", "drifted")
"""Kinds of failure for which the machine is to blame, not the candidate."""
NOISY_TRIES = 3
NOISY_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be evaluated, with what is known about it already."""

    proposal: Proposal
    architecture: Architecture
    measurements: tuple[Measurement, ...]
    """The static ones."""
    stages: tuple[Stage, ...] | None = None
    """None is all that the evaluator has."""
    repeat: int = 0
    """Counts further seeds of a trial that has finished."""
    amends: bool = False
    """Whether it makes a trial that has finished more certain."""
    rung: int | None = None
    """Number of the deciding rung after which it is judged; None is taken to the end."""
    before: TrialRecord | None = None
    """What was written of it when it was stopped, where it goes on."""

    @property
    def number(self) -> int:
        """Number of the trial; below 0 for the control, which is none."""
        return self.proposal.number

    @property
    def key(self) -> str:
        """Tells what runs at the same time apart: the architecture, unless it is the control or a
        repeat."""
        if self.number < 0:
            return "control"
        return f"{self.architecture.id}#{self.repeat}" if self.amends else self.architecture.id

    @property
    def is_extra(self) -> bool:
        """Whether it is evaluated beside the trials, at no cost to the budget but time."""
        return self.number < 0 or self.amends


@dataclass(slots=True)
class Outcome:
    """What the stages found. Grows stage by stage."""

    measurements: tuple[Measurement, ...]
    curves: dict[str, Sequence[CurvePoint]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    """Time in stages, without waiting for other candidates, halted or not yet begun."""
    stages: list[Stage] = field(default_factory=list)
    """Those that were begun."""

    def add(self, result: StageResult) -> None:
        """What a stage found, measured times in place of composed ones."""
        self.measurements = measured_instead(self.measurements, result.measurements)
        self.curves |= dict(result.curves)
        self.environment |= dict(result.environment)
        self.weights = result.weights or self.weights


@dataclass(frozen=True, slots=True)
class StageStarted:
    """Message of an evaluation: this stage starts now."""

    candidate: Candidate
    stage: Stage


@dataclass(frozen=True, slots=True)
class Ended:
    """Last message of an evaluation. Neither field is set where it was abandoned."""

    candidate: Candidate
    outcome: Outcome | None = None
    error: BaseException | None = None
    """Something that no evaluator should raise: a mistake in it or in us."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a study, run in order for one candidate at a time."""

    evaluator: Evaluator
    limits: tuple[Limit, ...]
    send: Callable[[StageStarted | Ended], None]
    abandoned: threading.Event
    """Set when results are no longer wanted."""
    lock: StageLock
    composer: Composer | None = None
    """None measures every latency."""

    def start(self, candidate: Candidate) -> None:
        """Evaluates in a new thread; a daemon, so that a stuck evaluator cannot hold up an exit."""
        name = f"trial-{candidate.number}"
        threading.Thread(target=self._run, args=(candidate,), name=name, daemon=True).start()

    def _run(self, candidate: Candidate) -> None:
        try:
            outcome = self._evaluate(candidate)
        except BaseException as error:  # handed to the driver, which raises it
            self.send(Ended(candidate, error=error))
        else:
            self.send(Ended(candidate, outcome))

    def _evaluate(self, candidate: Candidate) -> Outcome | None:
        outcome = Outcome(candidate.measurements)
        for stage in candidate.stages or self.evaluator.stages:
            if stage == "static":  # closed form; measured before the evaluation began
                continue
            if stage == LATENCY and not candidate.amends and self._composes(candidate, outcome):
                continue
            if not self._pass(stage, candidate, outcome):
                return None
            if outcome.failure or violations(self.limits, outcome.measurements):
                return outcome
        if candidate.rung is not None:
            return outcome
        if self.composer and (why := self.composer.why_measure(outcome.measurements)):
            outcome.environment["measured_because"] = why
            if not self._pass(LATENCY, candidate, outcome):
                return None
        return outcome

    def _composes(self, candidate: Candidate, outcome: Outcome) -> bool:
        """Whether the latencies can be composed of measured parts and leave no limit open; they
        are added then. Otherwise the candidate has to be measured."""
        if self.composer is None:
            return False
        is_ready = self.composer.is_ready(candidate.architecture)
        with self.lock.hold(COMPOSED if is_ready else LATENCY) as halted:
            if self.abandoned.is_set():
                return False
            self.send(StageStarted(candidate, COMPOSED))
            _note_halted(outcome, halted)
            try:
                result, reason = self.composer.compose(candidate.architecture)
            except EvaluationFailed as failed:
                result, reason = None, failed.message
        if result is not None:
            reason = self.composer.open_limit(result.measurements)
        if result is None or reason is not None:
            outcome.environment["measured_because"] = reason
            return False
        outcome.add(result)
        return True

    def _pass(self, stage: Stage, candidate: Candidate, outcome: Outcome) -> bool:
        """Runs a stage as soon as it may run, and again after a while where the machine was to
        blame; False where nobody wants the result any more."""
        outcome.stages.append(stage)
        for tries in range(1, NOISY_TRIES + 1):
            with self.lock.hold(stage) as halted:
                if self.abandoned.is_set():
                    return False
                if tries == 1:
                    self.send(StageStarted(candidate, stage))
                _note_halted(outcome, halted)
                failed = self._run_stage(stage, candidate, outcome)
            if failed is None:
                break
            # the others need not wait for the machine to become quiet
            is_noisy = failed.kind in NOISY and tries < NOISY_TRIES
            if not is_noisy or self.abandoned.wait(NOISY_PAUSE_SECONDS):
                outcome.failure = Failure(
                    stage=failed.stage, kind=failed.kind, message=failed.message
                )
                break
        # a failure may be that the workers were ended
        return not (self.abandoned.is_set() and outcome.failure)

    def _run_stage(
        self, stage: Stage, candidate: Candidate, outcome: Outcome
    ) -> EvaluationFailed | None:
        """Adds what the stage finds, or says why there is nothing."""
        started, halted = time.monotonic(), 0.0
        try:
            result = self._result(stage, candidate)
        except EvaluationFailed as failed:
            halted = failed.halted_seconds
            return failed
        else:
            halted = result.halted_seconds
            outcome.add(result)
            return None
        finally:
            outcome.seconds += time.monotonic() - started - halted

    def _result(self, stage: Stage, candidate: Candidate) -> StageResult:
        return self.evaluator.run(
            stage, candidate.architecture, candidate.number, repeat=candidate.repeat
        )


def _note_halted(outcome: Outcome, halted: int) -> None:
    """For whoever judges a time: it was taken beside so many stages of others that stood still."""
    if halted:
        outcome.environment["halted_beside"] = halted
