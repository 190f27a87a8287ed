"""What the verbs of the service answer with. The same models are the API's responses, the client's
return values and the command line's ``--json``."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from nas.evaluators.base import Direction
from nas.ledger.results import Agreement, Judgement, Outcome
from nas.record import Measurement, Standing, StudyRecord, TrialRecord, TrialState
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Scalar
from nas.search_spaces.base import Model
from nas.search_spaces.changes import SpaceChanges
from nas.study import DriverSpec, Objective


class Best(Model):
    """The best value of one objective so far."""

    metric: str
    value: float
    unit: str
    trial: int


class StudyView(StudyRecord):
    """A study and how far it has come."""

    objectives: tuple[Objective, ...]
    driver: DriverSpec
    """Who proposes; with the reason, where the study left the choice to ``auto``."""
    budget_trials: int | None
    budget_minutes: float | None
    budget_train_tokens: int | None = None
    budget_train_flops: float | None = None
    train_tokens: int = 0
    """Spent on training, by trials, further seeds and the control."""
    train_flops: float = 0.0
    share: float = 0.0
    """Of the budget that is spent, by the bound that comes first; the clock is left out where there
    is another."""
    counts: dict[str, int]
    """Trials by state."""
    best: tuple[Best, ...]
    seconds_left: float | None
    """Estimate from the pace so far; None before the first trial, 0 when it has ended."""


class SpaceVersionView(Model):
    """One version of a study's space, and what became of the proposals before it."""

    study: str
    version: int
    at: datetime
    space: dict[str, Any]
    changes: SpaceChanges
    """Against the version before."""
    proposals: int
    """Made in this version."""
    valid: int
    """Earlier proposals whose recorded answers stand for the same architecture here."""
    translated: int
    """Earlier proposals that other answers stand for, since questions were added or renamed."""
    invalid: tuple[Standing, ...]
    """Earlier proposals for which no answers were found. Their trials stay on record; the sampler
    of this version hears nothing of them."""


class Difference(Model):
    """A proposal that was made otherwise when it was derived again."""

    number: int
    version: int
    """Of the space."""
    recorded: dict[str, Scalar]
    """Answers."""
    derived: dict[str, Scalar]


class ReplayView(Model):
    """A study's proposals, derived again from its log; nothing was evaluated."""

    study: str
    sampler: str
    proposals: int
    """In the log."""
    own: int
    """Of them, those that the sampler made itself. The others were handed to it as they were
    recorded."""
    identical: int
    """Of its own, those that came out the same, up to the first difference."""
    first_difference: Difference | None
    recorded_versions: dict[str, str]
    """Of the libraries, as the first trial with an environment recorded them."""
    versions: dict[str, str]
    """Of the libraries here."""


class TrialPage(Model):
    """Some of a study's trials."""

    study: str
    total: int
    """Trials that match, on all pages."""
    offset: int
    trials: tuple[TrialRecord, ...]


class CurveView(Model):
    """A learning curve in columns."""

    step: tuple[int, ...]
    tokens: tuple[int, ...]
    loss: tuple[float, ...]


class TrialView(TrialRecord):
    """One trial in full."""

    train_tokens: int = 0
    """That it was trained on, its further seeds included."""
    train_flops: float = 0.0

    description: str
    architecture_json: Architecture
    curves: dict[str, CurveView]
    environment_json: dict[str, Any] | None


class DoubtInterval(Model):
    """Where the true value of a metric lies, at the level of its front."""

    low: float
    high: float
    source: Literal["exact", "seeds", "other seeds", "repeats", "interval"]
    """``exact``: closed form or counted. ``seeds``: this candidate's own runs, with the deviation
    of a run that all repeated candidates show; ``other seeds``: that deviation alone. ``repeats``:
    of a timing. ``interval``: of what was composed or extrapolated."""


class FrontPoint(Model):
    """One trial that no other trial beats on every metric; or a contender, which one does beat, but
    perhaps by chance."""

    trial: int
    architecture: str
    description: str
    values: dict[str, Measurement]
    """The metrics of the front, then the parameter count."""
    knee: bool
    """Whether this is the best compromise, the point furthest from the line of the extremes."""
    probability: float | None = None
    """That no other trial truly beats it; None where `Front.doubt` says why."""
    intervals: dict[str, DoubtInterval] = {}
    """Of the metrics of the front about whose spread something is known."""


class Front(Model):
    """The trade-off that a study found."""

    study: str
    metrics: tuple[Objective, ...]
    considered: int
    """Complete trials that have all of the metrics and meet the limits."""
    points: tuple[FrontPoint, ...]
    """Sorted by the first metric, best first."""
    contenders: tuple[FrontPoint, ...] = ()
    """Trials beside the front that are on it with more than 20 %, the likeliest first."""
    level: float = 0.8
    """Of the intervals."""
    draws: int = 0
    """Of the errors, from which the probabilities were counted."""
    doubt: str | None = None
    """Why there are no probabilities."""


Resource: TypeAlias = Literal["train_tokens", "train_flops", "trials", "seconds"]
"""What two studies may have spent alike. ``seconds`` are those of evaluations, added up over
workers."""


class Cut(Model):
    """Two studies when both had spent the same."""

    resource: Resource
    at: float
    first: float
    """Hypervolume as a share of the box between the best values of both fronts and the reference:
    0 to 1, by what was known then, before further seeds."""
    second: float
    first_trials: int
    """Evaluated by then."""
    second_trials: int
    leads: Literal["first", "second"] | None


class Side(Model):
    """One of two studies that are compared."""

    study: str
    spent: dict[str, float]
    """By resource: what the trials took, without control and further seeds."""
    in_all: dict[str, float]
    """Training tokens and FLOPs with control and further seeds."""
    covers: float
    """Share of the other's front that this one's front dominates."""
    front: tuple[tuple[float, ...], ...]
    """Final values of the metrics, best in the first one first."""


class Unlike(Model):
    """A setting in which two studies differ."""

    path: str
    first: Any
    second: Any


class Comparison(Model):
    """Two studies at equal cost. Each is one run: what a difference owes to chance, only further
    studies with other seeds can say."""

    first: Side
    second: Side
    metrics: tuple[Objective, ...]
    units: dict[str, str] = {}
    """By metric; empty for what has none."""
    reference: dict[str, float]
    """The point from which hypervolumes are counted: a tenth of the range beyond the worst of both
    fronts."""
    differs: tuple[Unlike, ...]
    cuts: tuple[Cut, ...]


class ProxyView(Agreement, Judgement):
    """How far one proxy can be trusted in a study."""

    metric: str
    """``random`` is random orders: the mean and the central 95 % of what they reach."""
    stage: str | None
    """Where it is measured; None for random orders."""
    unit: str | None
    claim: Literal["more", "less"] | None
    """Which way it is said to go with quality. A cost, such as parameters or latency, is taken as:
    more of it is better."""
    control: bool
    """Whether it is a line for the others: a parameter count, or random orders."""


class IdentityView(Model):
    """What is reached where no mixer sees another token."""

    trials: tuple[int, ...]
    """Complete trials whose mixers are all ``identity`` or ``none``."""
    value: float | None
    """The best that such a trial, or the study's control, reached."""
    best: float | None
    """The best of the trials that mix."""
    mixing: int
    """Trials that mix."""
    better: int
    """Of them, those that do better than `value`."""
    text: str


class ReferenceView(Model):
    """Every proxy of a study against one trained metric."""

    metric: str
    direction: Direction
    unit: str
    complete: int
    """Complete trials that have the metric; repeats are not counted again."""
    trials: int
    """Those that were compared: all, or in a large study 500 drawn at random."""
    level: float
    """Confidence of the intervals."""
    resamples: int
    seed: int
    proxies: tuple[ProxyView, ...]
    """Controls first, then by Kendall's tau, best first."""
    left_out: dict[str, str]
    """Measured, but in no row: why, by metric."""
    identity: IdentityView


class LedgerView(Model):
    """How far the cheap measurements of a study can be trusted."""

    study: str
    references: tuple[ReferenceView, ...]
    """One for each trained objective, or the one that was asked for."""


class ArmView(Model):
    """What one proposer did in a study."""

    proposer: str
    """A sampler, ``uniform`` where one was helped, ``control.random`` and ``control.params``,
    ``calibration``, or ``first`` for candidates that the user gave."""
    proposals: int
    evaluated: int
    states: dict[str, int]
    """Finished trials by state; infeasible ones broke a limit."""
    fallbacks: dict[str, int]
    """How often, and why, the study's sampler did not make these proposals itself."""
    front: int
    """Of the points on the front."""
    observations: tuple[int, int] | None
    """Fewest and most trials that the sampler had been told of at its proposals; None for a study
    from before this was recorded."""
    seconds: float | None
    """Median time of a proposal."""
    most_seconds: float | None


class VersusView(Model):
    """The sampler against a control arm, at equal numbers of evaluated trials."""

    control: str
    proposers: tuple[str, ...]
    verdict: Outcome
    text: str
    """The verdict in words, with its numbers."""
    trials: int
    """Of each, in each draw from the larger arm."""
    volume: float | None
    """Mean hypervolume of the sampler's draws, as a share of that of both arms together; None where
    there are too few trials."""
    other_volume: float | None
    share: float | None
    """Of the draws in which the sampler reaches more."""
    reference: dict[str, float]
    """The worst value of each objective that the study has seen: volume is counted up to there."""


class FirstView(Model):
    """A candidate that the user gave."""

    trial: int
    architecture: str
    description: str
    in_space: bool
    """Whether it is a member of the space; else the sampler heard nothing of it."""
    state: TrialState | None
    """None while it runs."""


class SearchReport(Model):
    """Who proposed what in a study, and whether its sampler was worth it."""

    study: str
    sampler: str
    proposals: int
    evaluated: int
    repeat_share: float
    """Of the proposals: served from the store."""
    fallback_share: float
    """Of the proposals: not made by the sampler itself."""
    control_share: float
    """Of the evaluated trials."""
    arms: tuple[ArmView, ...]
    """By proposer."""
    comparisons: tuple[VersusView, ...]
    """Empty without a control arm."""
    resamples: int
    first: tuple[FirstView, ...]


class CostView(Model):
    """What an architecture costs, in closed form. Nothing was built to find this out."""

    id: str
    description: str
    context: int
    """Tokens; cache and FLOPs are at this length."""
    params: int
    active_params: int
    flops_per_token: int
    decode_flops: int
    kv_cache_bytes_per_token: int
    kv_cache_bytes: int
    state_bytes: int
    peak_activation_bytes: int
    """Of a forward pass over `context` tokens."""
    dtype_bytes: int


class Validation(Model):
    """A file that holds what it should."""

    what: str
    """``study``, ``space`` or ``architecture``."""
    summary: str
    axes: dict[str, Any] | None = None
    """The questions of a space and their answers."""
    id: str | None = None
    """Of an architecture."""


class Graph(Model):
    """An architecture drawn, with what its graph shows."""

    id: str
    svg: str
    operators: int
    critical_path_flops: int
    """FLOPs per token along the longest chain of operators."""
    peak_activation_bytes: int


class RepricedPoint(Model):
    """One trial on another target."""

    trial: int
    architecture: str
    description: str
    before: dict[str, Measurement]
    """The objectives as the study has them."""
    after: dict[str, Measurement]
    """The objectives on the other target; the stage ``composed`` marks times that were not
    measured, of trials that are not on the front."""
    on_front: bool
    broken: str | None
    """The limits that do not hold there, in words."""
    failure: str | None
    """Why it could not be measured."""


class RepricedView(Model):
    """A study's trials on another target. Nothing was trained."""

    study: str
    target: dict[str, Any]
    metrics: tuple[Objective, ...]
    environment: dict[str, Any]
    """The machine on which it was measured."""
    measured: int
    """Trials that were measured whole."""
    points: tuple[RepricedPoint, ...]
    """The front there first, each part sorted by the first metric, best first."""


class ExportedFile(Model):
    """One file of an export."""

    name: str
    bytes: int
    sha256: str


class KernelForm(StrEnum):
    """Kernels that an export can carry as a second file."""

    TRITON = "triton"


class ExportView(Model):
    """An architecture exported as code, and its certificate."""

    study: str
    trial: int
    architecture: str
    prefix: int | None
    """Which prefix of a nested model; None is the whole."""
    folder: str
    """Where the files lie, on the machine that wrote them."""
    files: tuple[ExportedFile, ...]
    certificate: dict[str, Any]
    remeasured: tuple[Measurement, ...] = ()
    """The target's metrics, measured again for the export, where a limit rests on them or they had
    been composed."""
    remeasuring: str | None = None
    """Why they could not be measured again."""


class Health(Model):
    """Whether the service is well."""

    status: str
    version: str
    database: str
    running: tuple[str, ...]
    """Studies that are running now."""


class Deleted(Model):
    """A study that is gone."""

    name: str
    trials: int


def driver_text(driver: DriverSpec) -> str:
    """Who proposes and, where it was chosen for the user, why."""
    name = driver.library if driver.sampler is None else f"{driver.library}.{driver.sampler}"
    name = "uniform" if driver.library == "uniform" else name
    return f"{name}, chosen because {driver.chosen_because}" if driver.chosen_because else name


def curve_view(points: Sequence[Any]) -> CurveView:
    """Curve points in columns."""
    return CurveView(
        step=tuple(point.step for point in points),
        tokens=tuple(point.tokens for point in points),
        loss=tuple(point.loss for point in points),
    )
