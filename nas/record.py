"""What is recorded: the wire format and the stored JSON alike. There is no second form."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from nas.search_spaces.axes import Scalar
from nas.search_spaces.base import Model
from nas.search_spaces.changes import SpaceChanges

TrialState: TypeAlias = Literal["complete", "infeasible", "failed", "repeat", "stopped"]
"""``infeasible`` broke a limit; ``repeat`` was served from the store and used no budget;
``stopped`` was halted at a rung because others were better there, and may still go on."""
StudyState: TypeAlias = Literal["running", "stopped", "complete", "exhausted", "failed"]
"""``exhausted``: the space or the limits left nothing new to try before the budget was spent."""


class Measurement(Model):
    """One number with its unit and its spread."""

    metric: str
    value: float
    unit: str
    stage: str
    low: float | None = None
    """10th percentile, where the measurement was repeated; the lower end of the interval of a mean
    over seeds (80 %), of an extrapolation (80 %) and of a composed time (90 %)."""
    high: float | None = None
    """90th percentile, or the upper end."""
    repeats: int = 1
    """Timed runs, or seeds."""


class Failure(Model):
    """Why a trial has no result."""

    stage: str
    kind: str
    message: str


class Proposal(Model):
    """What a sampler proposed, and how it came to do so."""

    number: int
    """Position in the study, from 0; also the trial's number."""
    answers: dict[str, Scalar]
    """Enough to decode the architecture again."""
    proposer: str
    """For example ``optuna.nsga2`` or ``uniform``."""
    fallback: str | None = None
    """Set when the named sampler did not make this proposal itself: why, in words."""
    sampler_state: dict[str, Any] = {}
    """What the sampler needs to rebuild its own state on replay."""
    observations: int | None = None
    """Trials that the sampler had been told of when this was proposed."""
    seconds: float = 0.0
    """Time that it took to propose this; not part of what a replay repeats."""
    outside: bool = False
    """Whether the architecture is no member of the study's space, and so without answers; the
    sampler hears nothing of it."""


class TrialRecord(Model):
    """One finished trial. Its measurements may become more certain later (``Store.amend``), and one
    that was stopped may go on (``Store.advance``)."""

    study: str
    number: int
    architecture: str
    """The architecture's id."""
    answers: dict[str, Scalar]
    state: TrialState
    proposer: str
    fallback: str | None = None
    repeat_of: int | None = None
    """The trial whose results are served again."""
    reason: str | None = None
    """Why an infeasible trial was rejected: metric, value and limit."""
    measurements: tuple[Measurement, ...] = ()
    failure: Failure | None = None
    rung: str | None = None
    """Where a stopped trial halted: the name of the rung that it has been through last. A repeat of
    a stopped trial has it too."""
    environment: str | None = None
    """Id of the environment record."""
    weights: str | None = None
    """File of the trained proxy weights, where they were kept; relative to the data folder."""
    started: datetime
    seconds: float

    @property
    def evaluated(self) -> bool:
        """Whether it was built and measured itself, and so counts against the budget. A limit on a
        measured metric may still have made it infeasible. What was rejected before that, by closed
        form or composed times, has no environment."""
        if self.state == "infeasible":
            stages = {measurement.stage for measurement in self.measurements} - {"static"}
            return bool(stages) and (stages != {"composed"} or self.environment is not None)
        return self.state in ("complete", "failed", "stopped")

    def first_value(self, metric: str) -> float | None:
        """What was known first, before further seeds and late measurements: what the sampler was
        told."""
        found = (self.value(f"{metric}@{kept}") for kept in ("seed0", "first"))
        return next((value for value in found if value is not None), self.value(metric))

    def value(self, metric: str) -> float | None:
        """The value of a metric, or None where it was not measured."""
        found = (m.value for m in self.measurements if m.metric == metric)
        return next(found, None)


class StudyRecord(Model):
    """A study as it stands."""

    name: str
    spec: dict[str, Any]
    """The whole study as it was understood, presets and defaults written out."""
    state: StudyState
    reason: str | None = None
    """Why it is in this state, where that needs saying."""
    created: datetime
    trials: int = 0
    """Evaluated trials (`TrialRecord.evaluated`). They use up the budget."""
    proposals: int = 0
    """All trials, repeats and infeasible ones included."""
    seconds: float = 0.0
    """Time spent running, over all runs."""
    space_version: int = 1
    """Of the space in `spec`; counts up from 1 with each change."""


class Standing(Model):
    """Where a proposal of an earlier space stands in a later version."""

    number: int
    architecture: str
    answers: dict[str, Scalar] | None
    """The answers that give the same architecture in the later version; None where it does not
    hold it."""
    recorded: bool
    """Whether these are the answers that were recorded. Else questions were added or renamed."""
    axis: str | None = None
    """The first question to which the recorded answers have no answer that counts any more."""
    reason: str | None = None
    """Why the recorded answers do not hold, in words."""


class SpaceVersion(Model):
    """One version of a study's space."""

    version: int
    at: datetime
    entries: int
    """Entries of the study's log before it begins."""
    space: dict[str, Any]
    changes: SpaceChanges
    """Against the version before."""
    earlier: tuple[Standing, ...] = ()
    """Every proposal that was made before it begins."""


class Event(Model):
    """Something that happened in a study, in order."""

    sequence: int
    study: str
    kind: str
    """``state``, ``trial``, ``progress``, ``amended``, ``control``, ``space``, ``note``,
    ``known``: the trials of another study from which this one starts, or ``composition``: what
    composed times follow from, for the proposals from `number` on."""
    at: datetime
    data: dict[str, Any] = {}
