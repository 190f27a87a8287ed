"""The loop of a study: ask, check, evaluate, record, tell.

One thread (the caller's) asks the sampler, writes to the store and tells the sampler; each
evaluation has a thread of its own (``evaluation``). So nothing here needs a lock, and the order in
the store's log is the order in which the sampler was asked and told, which is what a resumed study
replays.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from nas.driver.budget import BudgetKeeper, needs_of
from nas.driver.composer import Composer, measured_instead
from nas.driver.confirm import missing_seeds, next_to_measure, next_to_repeat, with_repeat
from nas.driver.control import PROPOSAL, control_of
from nas.driver.earlier import EarlierSpaces
from nas.driver.evaluation import Candidate, Ended, Outcome, Stages, StageStarted
from nas.driver.fallback import STUCK_AFTER
from nas.driver.foreseeing import KIND as COMPOSITION
from nas.driver.foreseeing import ComposedTimes
from nas.driver.known import observations_of
from nas.driver.limits import total_violation, violations
from nas.driver.numbering import OwnNumbers
from nas.driver.proposing import GIVEN, Proposals
from nas.driver.recording import missing_objective, record_of
from nas.driver.screening import Screen
from nas.driver.stagelock import StageLock
from nas.driver.stopping import Stopping
from nas.evaluators.base import Evaluator
from nas.evaluators.static import PEAK, peak_measurement
from nas.record import Proposal, StudyState, TrialRecord, TrialState
from nas.samplers.base import Sampler
from nas.search_spaces.architecture import Architecture
from nas.spending import Cost, Spending, cost_of
from nas.store.base import Asked, Store, Told, TrialQuery
from nas.study import StudySpec

OnEvent: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Called with a kind (``progress``, ``trial``, ``amended`` or ``settled``: nothing more of it will
run) and its data."""

POLL_SECONDS = 0.1
"""How often a running study looks whether it should stop."""
GRACE_SECONDS = 1.0
"""How long evaluations may go on after a study was stopped."""
SAVE_SECONDS = 5.0
"""How often the time that a study has run is written down."""


class Driver:
    """Runs one study from wherever the store says that it is, until it ends or is stopped.

    Closes the evaluator only to abandon what still runs when the study is stopped; otherwise
    closing it is left to the caller, who also writes the final state to the store.
    """

    def __init__(
        self,
        spec: StudySpec,
        sampler: Sampler[Architecture],
        evaluator: Evaluator,
        store: Store,
        *,
        stop: threading.Event,
        on_event: OnEvent | None = None,
        times: ComposedTimes | None = None,
    ) -> None:
        """`times` are those that the sampler was made with, if it knows of any; the driver takes
        them from edition to edition."""
        self.spec = spec
        self.sampler = OwnNumbers(sampler)
        self.evaluator = evaluator
        self.store = store
        self.stop = stop
        self.on_event = on_event or (lambda kind, data: None)
        self.budget = BudgetKeeper(spec.budget, trials=0, seconds=0.0, needs=needs_of(spec))
        self._times = times or ComposedTimes(spec)
        self._screen = Screen(spec, self._times)
        self._proposals = Proposals(spec, self.sampler, self._screen)
        self._messages: queue.Queue[StageStarted | Ended] = queue.Queue()
        self._abandoned = threading.Event()
        self._composer = Composer(spec, evaluator, store) if spec.composes_latency else None
        lock = StageLock(evaluator, spec.driver.workers)
        self._stages = Stages(
            evaluator, spec.limits, self._messages.put, self._abandoned, lock, self._composer
        )
        self._next = 0
        """Number of the next proposal."""
        self._without_news = 0
        """Proposals in a row that brought no new candidate."""
        self._seen: set[str] = set()
        """Architectures that were evaluated, or are to be; a further proposal is a repeat."""
        self._evaluated: dict[str, TrialRecord] = {}
        """By architecture: the trial whose results a repeat is served."""
        self._running: dict[str, Candidate] = {}
        """By architecture."""
        self._waiting: dict[str, list[Candidate]] = {}
        """Repeats of what is running now, by architecture."""
        self._unfinished: list[Candidate] = []
        """Asked in an earlier run and not finished; they come before anything new."""
        self._nothing_new: str | None = None
        self._stopping = Stopping(spec, evaluator.stages, self._note)
        self._control_wanted = spec.control
        self._earlier = EarlierSpaces(store.space_versions(spec.name))
        self._refused_extras: set[int] = set()
        """Trials that could not be made more certain in this run."""

    def run(self) -> tuple[StudyState, str]:
        """The state in which the study ends, and why.

        Raises whatever the store raises, and what an evaluator raises that is not EvaluationFailed.
        """
        try:
            self._resume()
            if self._composer:
                self._composer.recall(self._times.latest)
            while True:
                self._start_candidates()
                if not self._running:
                    return self._ending()
                self._handle(self._next_message())
        finally:
            self._abandoned.set()
            self._save_time()

    # Asking --------------------------------------------------------------------------------------

    def _start_candidates(self) -> None:
        workers = self.spec.driver.workers
        if self._control_wanted and self._may_start():
            self._control_wanted = False
            self._start(self._control())
        while len(self._running) < workers:
            waiting = self._unfinished and self._may_start()
            if not waiting and self._promote_next():
                continue
            if not self._may_start():
                break
            candidate = self._unfinished.pop(0) if self._unfinished else self._ask()
            if candidate is None:
                break
            self._consider(candidate)
        is_over = not self._running and not self._may_start() and not self.stop.is_set()
        # nothing more will come to a rung, so that one trial of each goes on, however few they are
        if is_over and not self._promote_next(at_least=1):
            self._start_extras()

    def _may_start(self) -> bool:
        return not (self.stop.is_set() or self._nothing_new or self.budget.spent())

    def _ask(self) -> Candidate | None:
        """The next candidate, written down before anything else is done with it."""
        started, heard = time.perf_counter(), self.sampler.told
        stuck = self._without_news >= STUCK_AFTER
        found = self._proposals.next(self._next, self._seen, stuck=stuck)
        if isinstance(found, str):
            self._nothing_new = found
            return None
        made = {"observations": heard, "seconds": time.perf_counter() - started}
        proposal, architecture = found.proposal.model_copy(update=made), found.architecture
        self.store.ask(self.spec.name, proposal, architecture)
        if not found.by_sampler:
            self.sampler.replay(proposal)
        self._next = proposal.number + 1
        candidate = self._candidate(proposal, architecture)
        self._count_news(proposal, architecture.id, self._is_news(candidate))
        return candidate

    def _candidate(self, proposal: Proposal, architecture: Architecture) -> Candidate:
        screen = Screen(self.spec) if architecture.id in self._seen else self._screen
        return Candidate(proposal, architecture, screen.measure(architecture))

    # Checking ------------------------------------------------------------------------------------

    def _is_news(self, candidate: Candidate) -> bool:
        """Whether a candidate is to be evaluated: within the static limits, and not seen before."""
        rejected = violations(self.spec.limits, candidate.measurements)
        return not rejected and candidate.architecture.id not in self._seen

    def _count_news(self, proposal: Proposal, architecture: str, is_news: bool) -> None:
        if proposal.proposer not in GIVEN:  # nothing that says whether the sampler is stuck
            self._without_news = 0 if is_news else self._without_news + 1
        if is_news:
            self._seen.add(architecture)

    def _consider(self, candidate: Candidate) -> None:
        """Rejects a candidate, serves it from the store, or starts its evaluation."""
        known = candidate.architecture.id
        if violations(self.spec.limits, candidate.measurements):
            self._record(candidate, Outcome(candidate.measurements))
        elif known in self._running:
            self._waiting.setdefault(known, []).append(candidate)
        elif known in self._evaluated:
            self._serve_again(candidate)
        else:
            self._evaluate(candidate)

    # Evaluating ----------------------------------------------------------------------------------

    def _evaluate(self, candidate: Candidate) -> None:
        if all(m.metric != PEAK for m in candidate.measurements):
            peak = peak_measurement(candidate.architecture, self.spec.target)
            candidate = Candidate(
                candidate.proposal, candidate.architecture, (*candidate.measurements, peak)
            )
        self.budget.begin()
        self._start(self._stopping.begin(candidate))

    def _promote_next(self, at_least: int = 0) -> bool:
        """Starts what may go on from a rung, if there is anything; it was counted when it began."""
        if self.stop.is_set() or self.budget.is_out_of_time:
            return False
        step = self._stopping.next(at_least)
        if step is None:
            return False
        before = self.store.trial(self.spec.name, step.number)
        architecture = self.store.architecture(before.architecture)
        ahead = self._stopping.ahead(step)
        spec = self.spec
        cost = cost_of(architecture, spec.trainings, spec.tasks, ahead, resume=spec.resume)
        if not self.budget.has_room(cost):
            return False
        self._start(self._stopping.go_on(step, before, architecture))
        return True

    def _start(self, candidate: Candidate) -> None:
        self.budget.hold(candidate.key, self._cost(candidate, self._stages_of(candidate)))
        self._running[candidate.key] = candidate
        self._stages.start(candidate)

    def _stages_of(self, candidate: Candidate) -> Sequence[str]:
        return self.evaluator.stages if candidate.stages is None else candidate.stages

    def _cost(self, candidate: Candidate, stages: Sequence[str]) -> Cost:
        spec = self.spec
        resume = spec.resume and candidate.repeat == 0  # further seeds leave no checkpoints
        return cost_of(candidate.architecture, spec.trainings, spec.tasks, stages, resume=resume)

    def _book(self, candidate: Candidate, outcome: Outcome) -> None:
        """Writes down what an evaluation trained, before what it found: whoever is killed in
        between has spent it all the same, and does it again."""
        trained = {training.stage for training in self.spec.trainings}
        stages = tuple(stage for stage in outcome.stages if stage in trained)
        if stages:
            cost = self._cost(candidate, stages)
            spending = Spending(
                number=candidate.number,
                repeat=candidate.repeat,
                stages=stages,
                train_tokens=cost.tokens,
                train_flops=cost.flops,
            )
            self.store.add_spending(self.spec.name, spending)
            self.budget.book(spending)

    # What is evaluated beside the trials ---------------------------------------------------------

    def _control(self) -> Candidate:
        stages = tuple(training.stage for training in self.spec.trainings)
        return Candidate(PROPOSAL, control_of(self.spec.space), (), stages)

    def _start_extras(self) -> None:
        """Makes the front more certain: times that were not measured, then further seeds."""
        records = self.store.trials(self.spec.name, TrialQuery())[0]
        usable = [r for r in records if r.number not in self._refused_extras]
        unmeasured = next_to_measure(self.spec, usable)
        if unmeasured is not None:
            self._start(self._again(unmeasured, ("latency",)))
        elif self.spec.confirm is not None and not self.budget.is_out_of_time:
            while (repeated := next_to_repeat(self.spec, usable)) is not None:
                if self._start_repeats(repeated):
                    return
                usable = [r for r in usable if r.number != repeated.number]

    def _start_repeats(self, chosen: TrialRecord) -> bool:
        """Whether the budget had room for any."""
        objectives = {objective.metric for objective in self.spec.objectives}
        known = self.evaluator.metrics
        trained = {known[m].stage for m in objectives if known[m].stage.startswith("train")}
        stages = tuple(stage for stage in self.evaluator.stages if stage in trained)
        for repeat in missing_seeds(self.spec, chosen):
            candidate = self._again(chosen, stages, repeat)
            if not self.budget.has_room(self._cost(candidate, stages)):
                text = f"trial {chosen.number} is not repeated further: the budget has no room"
                self.store.add_event(self.spec.name, "note", {"text": text})
                self._refused_extras.add(chosen.number)
                break
            self._start(candidate)
        return bool(self._running)

    def _again(self, record: TrialRecord, stages: tuple[str, ...], repeat: int = 0) -> Candidate:
        """Some stages of a trial that has finished."""
        proposal = Proposal(number=record.number, answers=record.answers, proposer=record.proposer)
        architecture = self.store.architecture(record.architecture)
        return Candidate(proposal, architecture, (), stages, repeat, amends=True)

    def _keep_extra(self, candidate: Candidate, outcome: Outcome) -> None:
        """Writes what the control, a further seed or a late measurement found."""
        failure = outcome.failure
        if candidate.number < 0:
            self.evaluator.forget(candidate.number)
            found = {m.metric: m.value for m in outcome.measurements}
            why = failure.message if failure else None
            data = {"architecture": candidate.architecture.id, "values": found, "failure": why}
            self.store.add_event(self.spec.name, "control", data)
        elif failure:
            self._refused_extras.add(candidate.number)
            what = f"with further seed {candidate.repeat}" if candidate.repeat else "to be measured"
            text = f"trial {candidate.number} fails {what}"
            self._note(f"{text}: {failure.message}", {})
        else:
            record = self.store.trial(self.spec.name, candidate.number)
            before, found_now = record.measurements, outcome.measurements
            if candidate.repeat:
                changed = with_repeat(before, found_now, candidate.repeat)
            else:
                changed = measured_instead(before, found_now, kept_as="first")
            self.store.amend(self.spec.name, candidate.number, changed)
            self.on_event("amended", {"number": candidate.number})

    def _next_message(self) -> StageStarted | Ended:
        """Waits for an evaluation; abandons what still runs a while after the study was stopped."""
        waited_after_stop = 0.0
        while True:
            try:
                return self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._save_time(at_least=SAVE_SECONDS)
            if self.stop.is_set():
                waited_after_stop += POLL_SECONDS
                if self._abandoned.is_set() or waited_after_stop >= GRACE_SECONDS:
                    return self._abandon()

    def _abandon(self) -> Ended:
        """Gives up one running candidate; it stays asked, and is evaluated on resuming."""
        if not self._abandoned.is_set():
            self._abandoned.set()
            self.evaluator.close()
        return Ended(next(iter(self._running.values())))

    # Recording and telling -----------------------------------------------------------------------

    def _handle(self, message: StageStarted | Ended) -> None:
        candidate = message.candidate
        if isinstance(message, StageStarted):
            self._report(candidate, message.stage)
            return
        if self._running.pop(candidate.key, None) is None:
            return  # abandoned before it answered
        self.budget.release(candidate.key)
        if message.error is not None and not self._abandoned.is_set():
            raise message.error
        self._learn_times()
        if message.outcome is None:
            if not candidate.is_extra and candidate.before is None:
                self.budget.give_back()
            return
        self._book(candidate, message.outcome)
        if candidate.is_extra:
            self._keep_extra(candidate, message.outcome)
            return
        record = self._record(candidate, message.outcome)
        self._evaluated[candidate.architecture.id] = record
        if record.state != "stopped":
            self._will_not_resume(record.number)
        for repeat in self._waiting.pop(candidate.architecture.id, []):
            self._serve_again(repeat)

    def _learn_times(self) -> None:
        """Writes down what evaluations have found out about composed times, for the proposals from
        here on; before what else they found, so that whoever is killed in between goes on with the
        same times."""
        found = self._composer.composition if self._composer else None
        data = self._times.learn(found, self._next) if found else None
        if data is not None:
            self.store.add_event(self.spec.name, COMPOSITION, data)

    def _report(self, candidate: Candidate, stage: str) -> None:
        data = {
            "number": candidate.number,
            "stage": stage,
            "architecture": candidate.architecture.id,
        }
        self.store.add_event(self.spec.name, "progress", data)
        self.on_event("progress", data)

    def _record(self, candidate: Candidate, outcome: Outcome) -> TrialRecord:
        """Writes what became of a candidate that was rejected or evaluated."""
        broken = violations(self.spec.limits, outcome.measurements)
        failure = outcome.failure
        if not broken and not failure and candidate.rung is None:
            objectives, known = self.spec.objectives, self.evaluator.metrics
            failure = missing_objective(objectives, known, outcome.measurements)
        state: TrialState = "failed" if failure else "infeasible" if broken else "complete"
        told = Told(candidate.number)
        if state == "complete" and candidate.rung is not None:
            state = "stopped"
            told = self._stopping.stop(candidate, outcome.measurements, self._complete)
        record = record_of(
            self.spec.name,
            candidate,
            state=state,
            reason="; ".join(str(violation) for violation in broken) or None,
            measurements=outcome.measurements,
            failure=failure,
            rung=candidate.stages[-1] if state == "stopped" and candidate.stages else None,
            environment=self._environment(candidate, outcome),
            weights=outcome.weights,
            seconds=outcome.seconds,
        )
        self._finish(record, outcome.curves, told, goes_on=candidate.before is not None)
        self._stopping.reached(told)
        return record

    def _environment(self, candidate: Candidate, outcome: Outcome) -> str | None:
        """Of a candidate that went on, all that its stages said of theirs."""
        found = dict(outcome.environment)
        if candidate.before and candidate.before.environment:
            found = {**self.store.environment(candidate.before.environment), **found}
        return self.store.put_environment(found) if found else None

    def _complete(self) -> list[TrialRecord]:
        found = (record for record in self._evaluated.values() if record.state == "complete")
        return sorted(found, key=lambda record: record.number)

    def _will_not_resume(self, number: int) -> None:
        """Says that no further stage of a trial will run."""
        self.evaluator.forget(number)
        self.on_event("settled", {"number": number})

    def _serve_again(self, candidate: Candidate) -> None:
        """The results of an earlier trial of the same architecture, at no cost."""
        first = self._evaluated[candidate.architecture.id]
        record = record_of(
            self.spec.name,
            candidate,
            state="repeat",
            repeat_of=first.number,
            reason=first.reason,
            measurements=first.measurements,
            failure=first.failure,
            rung=first.rung,
            environment=first.environment,
            seconds=0.0,
        )
        self._finish(record, {}, self._stopping.told_again(first.number, candidate.number))

    def _finish(
        self, record: TrialRecord, curves: Mapping[str, Any], told: Told, *, goes_on: bool = False
    ) -> None:
        write = self.store.advance if goes_on else self.store.finish
        write(record, curves, told)
        self._tell(record, told)
        self._save_time(at_least=SAVE_SECONDS)
        self.on_event("trial", {"number": record.number, "state": record.state})

    def _tell(self, record: TrialRecord, told: Told) -> None:
        """Says to the sampler what the log and the record say, so that a replay says the same."""
        if self._earlier.left_out(record.number):
            return
        if told.rung is not None:
            if self._stopping.heard(told):
                values = [value for value in told.values if value is not None]
                self.sampler.tell(record.number, values, 0.0, told.rung)
            return
        found = [record.first_value(objective.metric) for objective in self.spec.objectives]
        values = [value for value in found if value is not None]
        complete = len(values) == len(found) and record.failure is None
        violation = total_violation(self.spec.limits, record.measurements)
        if record.failure is not None:
            violation = 0.0
        self.sampler.tell(record.number, values if complete else None, violation)

    # Resuming and ending -------------------------------------------------------------------------

    def _resume(self) -> None:
        """Takes the sampler and all counts to where the log ends."""
        study = self.spec.name
        self._start_from_others()
        records = {r.number: r for r in self.store.trials(study, TrialQuery())[0]}
        evaluated = [record for record in records.values() if record.evaluated]
        self._evaluated = {record.architecture: record for record in evaluated}
        events = self.store.events(study)
        if any(event.kind == "control" for event in events):
            self._control_wanted = False
        self._stopping.recall(events)
        self._times.recall(events)
        self.budget = BudgetKeeper(
            self.spec.budget,
            trials=len(evaluated),
            seconds=self.store.study(study).seconds,
            needs=needs_of(self.spec),
            spendings=self.store.spendings(study),
        )
        for entry in self.store.log(study):
            if isinstance(entry, Told):
                self._tell(records[entry.number], entry)
                if records[entry.number].state != "repeat":
                    held = not self._earlier.left_out(entry.number)
                    self._stopping.reached(entry, is_member=held)
            else:
                self._times.go_to(entry.proposal.number)
                self._replay(entry, records.get(entry.proposal.number))
        self._times.go_to(self._next)

    def rebuild(self) -> None:
        """Takes the sampler to where the log ends, and does nothing else."""
        self._resume()

    def _start_from_others(self) -> None:
        """Before the replay, since a sampler learned from them before it was first asked."""
        text = self._proposals.start_from(observations_of(self.store, self.spec))
        events = self.store.events(self.spec.name) if text else []
        if text and all(event.data.get("text") != text for event in events):
            self.store.add_event(self.spec.name, "note", {"text": text})

    def _replay(self, asked: Asked, record: TrialRecord | None) -> None:
        number = asked.proposal.number
        self._earlier.replay(self.sampler, asked.proposal)
        self._next = number + 1
        if record is not None:
            self._count_news(asked.proposal, asked.architecture, record.evaluated)
        elif not self._earlier.left_out(number):
            self._take_up(asked)
        if number in self._earlier:  # what a sampler of another space repeated says nothing
            self._without_news = 0

    def _take_up(self, asked: Asked) -> None:
        """What was under way when an earlier run ended."""
        architecture = self.store.architecture(asked.architecture)
        candidate = self._candidate(asked.proposal, architecture)
        self._unfinished.append(candidate)
        self._count_news(asked.proposal, asked.architecture, self._is_news(candidate))

    def _note(self, text: str, more: Mapping[str, str]) -> None:
        self.store.add_event(self.spec.name, "note", {"text": text, **more})

    def _save_time(self, *, at_least: float = 0.0) -> None:
        seconds = self.budget.take_unsaved(at_least)
        if seconds:
            self.store.add_seconds(self.spec.name, seconds)

    def _settle(self) -> None:
        """Says of all that was stopped that it will not go on, once the study is over."""
        if self.stop.is_set():
            return
        for number in sorted(r.number for r in self._evaluated.values() if r.state == "stopped"):
            self._will_not_resume(number)

    def _ending(self) -> tuple[StudyState, str]:
        self._settle()
        done = f"{self.budget.trials_text} evaluated"
        if self.stop.is_set() and self._stopping.is_open:
            return "stopped", f"stopped on request with {done}, of which some may go on"
        if spent := self.budget.spent():
            return "complete", spent
        if self._nothing_new:
            return "exhausted", f"{done}; {self._nothing_new}"
        return "stopped", f"stopped on request with {done}"
