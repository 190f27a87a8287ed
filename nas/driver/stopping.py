"""Where each candidate of a study is stopped, what is written of it there, and who goes on."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.driver.calibration import PROPOSER as CALIBRATION
from nas.driver.evaluation import Candidate
from nas.driver.promotion import Halving, Step
from nas.driver.trust import Trust
from nas.evaluators.base import Stage
from nas.record import Event, Measurement, Proposal, TrialRecord
from nas.samplers.uniform import generator_of
from nas.search_spaces.architecture import Architecture
from nas.store.base import Told
from nas.study import StudySpec

DISTRUSTED = "distrusted"
"""Key in the data of the ``note`` that a rung has stopped deciding: the rung's name."""
Note = Callable[[str, dict[str, str]], None]
"""Writes a text, with more data, as a note of the study."""


class Stopping:
    """The rungs of one study that decide; there are none where it does not promote."""

    def __init__(self, spec: StudySpec, stages: Sequence[Stage], note: Note) -> None:
        self.spec = spec
        self.stages = tuple(stages)
        self.rungs = spec.deciding
        self._note = note
        self._halving = Halving(self.rungs, spec.promotion.keep if spec.promotion else 1.0)
        self._trust = Trust(spec)
        self._distrusted: set[str] = set()
        self._last: dict[int, Told] = {}
        """By number: the last entry of each trial that has not finished."""
        self._under_way: set[int] = set()
        """Trials that went on and have neither finished nor been stopped again."""

    def begin(self, candidate: Candidate) -> Candidate:
        """The candidate, to be evaluated up to the first rung that decides."""
        if not self.rungs:
            return candidate
        return replace(candidate, stages=self._between(None, 0), rung=0)

    def go_on(self, step: Step, before: TrialRecord, architecture: Architecture) -> Candidate:
        """A stopped candidate, to be evaluated up to the next rung that decides, or to the end."""
        self._halving.go_on(step.number)
        self._under_way.add(step.number)
        proposal = Proposal(number=before.number, answers=before.answers, proposer=before.proposer)
        proposal = proposal.model_copy(update={"fallback": before.fallback})
        return Candidate(
            proposal,
            architecture,
            before.measurements,
            self.ahead(step),
            rung=self._further(step),
            before=before,
        )

    def ahead(self, step: Step) -> tuple[Stage, ...]:
        """The stages that a stopped candidate goes through if it goes on."""
        return self._between(step.rung, self._further(step))

    def next(self, at_least: int = 0) -> Step | None:
        """The trial that should go on first; see `Halving.next`."""
        return self._halving.next(at_least)

    @property
    def is_open(self) -> bool:
        """Whether a trial that was stopped may go on now, or has gone on and has not come back."""
        return bool(self._under_way) or self.next(at_least=1) is not None

    def stop(
        self,
        candidate: Candidate,
        measurements: Sequence[Measurement],
        complete: Callable[[], Sequence[TrialRecord]],
    ) -> Told:
        """What is logged of a candidate that has been through the rung at which it is judged.
        `complete` are the trials that have finished, in order."""
        assert candidate.rung is not None  # only such candidates are stopped
        rung = self.rungs[candidate.rung]
        values = rung.values({m.metric: m.value for m in measurements})
        incomparable = all(value is None for value in values)
        passes = (
            incomparable
            or self._is_free(candidate.number, candidate.proposal.proposer, rung.index)
            or self._may_not_decide(rung.index, complete)
        )
        return Told(candidate.number, rung.index, values, passes)

    def told_again(self, first: int, number: int) -> Told:
        """What is logged of a repeat of a trial: where that is stopped now, what it reached there;
        else that it has finished."""
        last = self._last.get(first)
        return Told(number) if last is None else replace(last, number=number)

    def reached(self, told: Told, *, is_member: bool = True) -> None:
        """Takes down an entry of the log about a trial that was evaluated itself. One that the
        study's space does not hold any more goes on from nowhere, and nobody is judged by it."""
        self._under_way.discard(told.number)
        if told.rung is None:
            self._last.pop(told.number, None)
            self._halving.go_on(told.number)
        else:
            self._last[told.number] = told
        if told.rung is not None and is_member:
            self._halving.reach(told.number, told.rung, told.values, passes=told.passes)

    def heard(self, told: Told) -> bool:
        """Whether a sampler can be told of a trial at a rung: all objectives have a value there."""
        assert told.rung is not None  # of a trial that was stopped
        return self.rungs[told.rung].comparable and None not in told.values

    def recall(self, events: Sequence[Event]) -> None:
        """Takes down which rungs had stopped deciding before the study was interrupted."""
        notes = (event.data for event in events if event.kind == "note")
        self._distrusted = {str(data[DISTRUSTED]) for data in notes if DISTRUSTED in data}

    def _further(self, step: Step) -> int | None:
        """The next rung that decides."""
        return step.rung + 1 if step.rung + 1 < len(self.rungs) else None

    def _between(self, after: int | None, until: int | None) -> tuple[Stage, ...]:
        """The evaluator's stages after one rung up to another."""
        start = 0 if after is None else self.stages.index(self.rungs[after].stage) + 1
        end = None if until is None else self.stages.index(self.rungs[until].stage) + 1
        return self.stages[start:end]

    def _is_free(self, number: int, proposer: str, rung: int) -> bool:
        """Whether a trial is not judged at a rung, nor at any before it."""
        return proposer == CALIBRATION or rung < bracket_of(self.spec, number)

    def _may_not_decide(self, rung: int, complete: Callable[[], Sequence[TrialRecord]]) -> bool:
        stage = self.rungs[rung].stage
        if stage in self._distrusted:
            return True
        last = len(self.rungs) - 1
        unchosen = [r for r in complete() if self._is_free(r.number, r.proposer, last)]
        why = self._trust.why_not(self.rungs[rung], unchosen)
        if why is None:
            return False
        self._distrusted.add(stage)
        self._note(f"{stage} no longer decides who goes on: {why}", {DISTRUSTED: stage})
        return True


def bracket_of(spec: StudySpec, number: int) -> int:
    """The bracket of a proposal, from 0; trials of bracket s are not judged before deciding rung s.

    Drawn with the shares of Hyperband (Li et al., JMLR 18, 2018): of B brackets, number s gets a
    share proportional to ``B / (B - s) * (1 / keep) ** (B - 1 - s)``. It follows from the study's
    seed and the number alone.
    """
    if spec.promotion is None or spec.promotion.brackets == 1:
        return 0
    count, factor = spec.promotion.brackets, 1 / spec.promotion.keep
    shares = [count / (count - s) * factor ** (count - 1 - s) for s in range(count)]
    return generator_of(spec.seed, number, "bracket").choices(range(count), shares)[0]
