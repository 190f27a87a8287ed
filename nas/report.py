"""What the search of a study was worth: who proposed what, from how much, and what came of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from nas.describe import one_line
from nas.driver.arm import PARAMS, RANDOM
from nas.driver.calibration import PROPOSER as CALIBRATION
from nas.driver.first import PROPOSER as FIRST
from nas.fronts import front_of
from nas.ledger.versus import RESAMPLES, Versus, versus
from nas.pareto import Floats, as_costs
from nas.record import Proposal, TrialRecord
from nas.store.base import Asked, Store, TrialQuery
from nas.study import StudySpec
from nas.views import ArmView, FirstView, SearchReport, VersusView

_GIVEN = (FIRST, CALIBRATION, RANDOM, PARAMS)
_UNIFORM = "uniform"
_CONTROLS = (
    ("random search", (RANDOM,)),
    ("ranking by parameters", (PARAMS,)),
    ("both control arms", (RANDOM, PARAMS)),
)


class _Trial(NamedTuple):
    proposal: Proposal
    architecture: str
    record: TrialRecord | None
    """None while it runs."""

    @property
    def is_search(self) -> bool:
        """Whether the study's sampler proposed it itself."""
        helped = self.proposal.proposer == _UNIFORM and self.proposal.fallback is not None
        return self.proposal.proposer not in _GIVEN and not helped


def report_of(store: Store, spec: StudySpec) -> SearchReport:
    """The report on a study as it stands; it may still run."""
    trials = _trials(store, spec)
    on_front = set(front_of(store, spec.name, spec.objectives, spec.limits)[1])
    names = sorted({trial.proposal.proposer for trial in trials})
    evaluated = [t for t in trials if t.record is not None and t.record.evaluated]
    return SearchReport(
        study=spec.name,
        sampler=_sampler(spec),
        proposals=len(trials),
        evaluated=len(evaluated),
        repeat_share=_share(trials, lambda t: t.record is not None and t.record.state == "repeat"),
        fallback_share=_share(trials, lambda t: t.proposal.fallback is not None),
        control_share=_share(evaluated, lambda t: t.proposal.proposer in (RANDOM, PARAMS)),
        arms=tuple(_arm(name, trials, on_front) for name in names),
        comparisons=_comparisons(spec, evaluated),
        resamples=RESAMPLES,
        first=_first(store, trials),
    )


def _trials(store: Store, spec: StudySpec) -> list[_Trial]:
    records = {record.number: record for record in store.trials(spec.name, TrialQuery())[0]}
    return [
        _Trial(entry.proposal, entry.architecture, records.get(entry.proposal.number))
        for entry in store.log(spec.name)
        if isinstance(entry, Asked)
    ]


def _sampler(spec: StudySpec) -> str:
    driver = spec.driver
    return driver.library if driver.library == _UNIFORM else f"{driver.library}.{driver.sampler}"


def _share(trials: Sequence[_Trial], holds: Callable[[_Trial], bool]) -> float:
    return sum(map(holds, trials)) / len(trials) if trials else 0.0


def _arm(name: str, trials: Sequence[_Trial], on_front: set[int]) -> ArmView:
    own = [trial for trial in trials if trial.proposal.proposer == name]
    states = Counter(trial.record.state for trial in own if trial.record is not None)
    told = [p.observations for p, _, _ in own if p.observations is not None]
    seconds = [p.seconds for p, _, _ in own if p.observations is not None]
    return ArmView(
        proposer=name,
        proposals=len(own),
        evaluated=sum(t.record is not None and t.record.evaluated for t in own),
        states=dict(sorted(states.items())),
        fallbacks=dict(Counter(_reason(t.proposal) for t in own if t.proposal.fallback)),
        front=sum(t.proposal.number in on_front for t in own),
        observations=(min(told), max(told)) if told else None,
        seconds=median(seconds) if seconds else None,
        most_seconds=max(seconds) if seconds else None,
    )


def _reason(proposal: Proposal) -> str:
    """Why a sampler was helped, without what differs from proposal to proposal."""
    return (proposal.fallback or "").split(";")[0]


def _comparisons(spec: StudySpec, evaluated: Sequence[_Trial]) -> tuple[VersusView, ...]:
    """The sampler's trials against those of each control that the study has."""
    found: list[VersusView] = []
    search = _costs(spec, [trial for trial in evaluated if trial.is_search])
    complete = _costs(spec, evaluated)
    complete = complete[~np.isnan(complete).any(axis=1)]
    for name, proposers in _CONTROLS:
        others = [trial for trial in evaluated if trial.proposal.proposer in proposers]
        if not others or not len(complete):
            continue
        reference = complete.max(axis=0)
        result = versus(search, _costs(spec, others), reference, seed=spec.seed)
        found.append(_view(result, name, proposers, spec, reference))
    return tuple(found)


def _view(
    result: Versus, name: str, proposers: Sequence[str], spec: StudySpec, reference: Floats
) -> VersusView:
    corner = as_costs(reference[None], [o.direction for o in spec.objectives])[0]
    named = zip((o.metric for o in spec.objectives), corner, strict=True)
    return VersusView(
        **result._asdict(),
        control=name,
        proposers=tuple(proposers),
        reference={metric: float(value) for metric, value in named},
    )


def _costs(spec: StudySpec, trials: Sequence[_Trial]) -> Floats:
    """[N, M] what each trial reached with its first seed, small is better; NaN for one that is not
    complete."""
    metrics = [objective.metric for objective in spec.objectives]
    signs = np.array([1.0 if o.direction == "minimize" else -1.0 for o in spec.objectives])
    rows = [
        [
            np.nan if value is None else value
            for value in (_first_value(trial.record, metric) for metric in metrics)
        ]
        for trial in trials
    ]
    return np.array(rows, dtype=float).reshape(-1, len(metrics)) * signs


def _first_value(record: TrialRecord | None, metric: str) -> float | None:
    if record is None or record.state != "complete":
        return None
    return record.first_value(metric)


def _first(store: Store, trials: Sequence[_Trial]) -> tuple[FirstView, ...]:
    return tuple(
        FirstView(
            trial=proposal.number,
            architecture=architecture,
            description=one_line(store.architecture(architecture)),
            in_space=not proposal.outside,
            state=record.state if record else None,
        )
        for proposal, architecture, record in trials
        if proposal.proposer == FIRST
    )
