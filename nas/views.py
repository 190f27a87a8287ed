"""What the verbs of the service answer with. The same models are the API's responses, the client's
return values and the command line's ``--json``."""

from collections.abc import Sequence
from typing import Any, Literal

from nas.evaluators.base import Direction
from nas.ledger.results import Agreement, Judgement, Outcome
from nas.record import Measurement, StudyRecord, TrialRecord, TrialState
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import Model
from nas.study import Objective


class Best(Model):
    """The best value of one objective so far."""

    metric: str
    value: float
    unit: str
    trial: int


class StudyView(StudyRecord):
    """A study and how far it has come."""

    objectives: tuple[Objective, ...]
    budget_trials: int
    budget_minutes: float | None
    counts: dict[str, int]
    """Trials by state."""
    best: tuple[Best, ...]
    seconds_left: float | None
    """Estimate from the pace so far; None before the first trial, 0 when it has ended."""


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

    description: str
    architecture_json: Architecture
    curves: dict[str, CurveView]
    environment_json: dict[str, Any] | None


class FrontPoint(Model):
    """One trial that no other trial beats on every metric."""

    trial: int
    architecture: str
    description: str
    values: dict[str, Measurement]
    """The metrics of the front, then the parameter count."""
    knee: bool
    """Whether this is the best compromise, the point furthest from the line of the extremes."""


class Front(Model):
    """The trade-off that a study found."""

    study: str
    metrics: tuple[Objective, ...]
    considered: int
    """Complete trials that have all of the metrics and meet the limits."""
    points: tuple[FrontPoint, ...]
    """Sorted by the first metric, best first."""


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


def curve_view(points: Sequence[Any]) -> CurveView:
    """Curve points in columns."""
    return CurveView(
        step=tuple(point.step for point in points),
        tokens=tuple(point.tokens for point in points),
        loss=tuple(point.loss for point in points),
    )
