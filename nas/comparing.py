"""Two studies, side by side at equal cost.

The trials of each are taken in the order in which they ended, with what each had cost by then; both
are cut where they had spent the same. What a study had found by a cut is the hypervolume of its
front there, as a share of the box between the best values and a reference point common to both.

N trials, M objectives
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import numpy as np

from nas.errors import BadInput, Conflict
from nas.evaluators.base import Direction
from nas.pareto import Floats, as_costs, front, hypervolume
from nas.record import TrialRecord
from nas.spending import cost_of, total
from nas.store.base import Store, Told, TrialQuery
from nas.study import Objective, StudySpec
from nas.views import Comparison, Cut, Resource, Side, Unlike

CUTS = 10
"""Of each resource, at equal steps up to what the study that spent less has spent."""
MARGIN = 0.1
"""By which the reference lies beyond the worst value of both fronts, in each objective, as a share
of the range of both: the ends of a front count too."""
RESOURCES: tuple[Resource, ...] = get_args(Resource)
_NOT_COMPARED = ("name", "objectives")


@dataclass(frozen=True, eq=False)
class _Run:
    """One study as a sequence of evaluations."""

    values: Floats
    """[N, M] as first known, before further seeds; NaN where a trial has no values."""
    final: Floats
    """[N, M] with further seeds."""
    spent: Mapping[Resource, Floats]
    """[N] in all, when a trial had ended."""


def compare(
    store: Store, first: StudySpec, second: StudySpec, metrics: Sequence[str] = ()
) -> Comparison:
    """Two studies on the objectives of both, or on some metrics that both have.

    Raises BadInput for metrics that they do not share, and Conflict where the objectives differ or
    a study has no complete trial.
    """
    objectives = _shared(first, second, metrics)
    directions = [objective.direction for objective in objectives]
    runs = [_run(store, spec, objectives) for spec in (first, second)]
    for spec, run in zip((first, second), runs, strict=True):
        if not np.isfinite(run.final).any():
            names = ", ".join(objective.metric for objective in objectives)
            raise Conflict(f"study {spec.name!r} has no complete trial with {names} yet")
    best, reference = _box([as_costs(_front(run.final, directions), directions) for run in runs])
    cuts = [
        cut
        for resource in RESOURCES
        for cut in _cuts(resource, runs, directions, best=best, reference=reference)
    ]
    fronts = [_front(run.final, directions) for run in runs]
    signs = np.where(np.array(directions) == "maximize", -1.0, 1.0)
    return Comparison(
        first=_side(store, first, runs[0], fronts[0], fronts[1], directions),
        second=_side(store, second, runs[1], fronts[1], fronts[0], directions),
        metrics=tuple(objectives),
        units={o.metric: first.metrics[o.metric].unit for o in objectives},
        reference=dict(
            zip((o.metric for o in objectives), (reference * signs).tolist(), strict=True)
        ),
        differs=tuple(_differences(store, first, second)),
        cuts=tuple(cuts),
    )


def _shared(first: StudySpec, second: StudySpec, metrics: Sequence[str]) -> list[Objective]:
    if not metrics:
        named = [{o.metric: o.direction for o in spec.objectives} for spec in (first, second)]
        if named[0] != named[1]:
            said = (", ".join(f"{m} ({way})" for m, way in each.items()) for each in named)
            raise Conflict(
                f"the objectives differ: {first.name!r} has {next(said)}; {second.name!r} has "
                f"{next(said)}; name metrics that both have"
            )
        return list(first.objectives)
    both = sorted(set(first.metrics) & set(second.metrics))
    for index, metric in enumerate(metrics):
        if metric not in both:
            raise BadInput.at(
                f"metrics.{index}", "not both have it", given=metric, accepted=", ".join(both)
            )
    asked = [{o.metric: o for o in spec.objectives} for spec in (second, first)]
    return [
        asked[1].get(metric)
        or asked[0].get(metric)
        or Objective(metric=metric, direction=first.metrics[metric].direction)
        for metric in metrics
    ]


# What each study did ------------------------------------------------------------------------------


def _run(store: Store, spec: StudySpec, objectives: Sequence[Objective]) -> _Run:
    found = {record.number: record for record in store.trials(spec.name, TrialQuery())[0]}
    order = dict.fromkeys(e.number for e in store.log(spec.name) if isinstance(e, Told))
    records = [found[number] for number in order if found[number].evaluated]
    trained = _trained(store, spec, records)
    steps: dict[Resource, list[float]] = {
        "train_tokens": [tokens for tokens, _ in trained],
        "train_flops": [flops for _, flops in trained],
        "trials": [1.0] * len(records),
        "seconds": [record.seconds for record in records],
    }
    metrics = [objective.metric for objective in objectives]
    return _Run(
        values=_table(records, metrics, first=True),
        final=_table(records, metrics, first=False),
        spent={name: np.cumsum(np.array(each, dtype=float)) for name, each in steps.items()},
    )


def _table(records: Sequence[TrialRecord], metrics: Sequence[str], *, first: bool) -> Floats:
    table = np.full((len(records), len(metrics)), np.nan)
    for index, record in enumerate(records):
        values = [record.first_value(m) if first else record.value(m) for m in metrics]
        if record.state == "complete" and None not in values:
            table[index] = values
    return table


def _trained(
    store: Store, spec: StudySpec, records: Sequence[TrialRecord]
) -> list[tuple[float, float]]:
    """(tokens, operations) of each trial, further seeds left out. A trial from before this was kept
    is taken to have gone through the stages of which it has measurements, or at which it failed."""
    booked: dict[int, list[Any]] = {}
    for spending in store.spendings(spec.name):
        if spending.repeat == 0:
            booked.setdefault(spending.number, []).append(spending)
    found = []
    for record in records:
        if record.number in booked:
            found.append(total(booked[record.number]))
            continue
        stages = {measurement.stage for measurement in record.measurements}
        stages |= {record.failure.stage} if record.failure else set()
        architecture = store.architecture(record.architecture)
        found.append(cost_of(architecture, spec.trainings, spec.tasks, stages, resume=spec.resume))
    return [(float(cost.tokens), cost.flops) for cost in found]


# Cuts ---------------------------------------------------------------------------------------------


def _front(values: Floats, directions: Sequence[Direction]) -> Floats:
    """The front of what has values: [K, M]."""
    known = values[np.isfinite(values).all(axis=1)]
    return known[front(known, directions)]


def _box(fronts: Sequence[Floats]) -> tuple[Floats, Floats]:
    """The best value of each objective on both fronts of costs, and the reference: [M] each."""
    both = np.concatenate(fronts)
    best, worst = both.min(axis=0), both.max(axis=0)
    span = np.where(worst > best, worst - best, np.where(worst != 0, np.abs(worst), 1.0))
    return best, worst + MARGIN * span


def _cuts(
    resource: Resource,
    runs: Sequence[_Run],
    directions: Sequence[Direction],
    *,
    best: Floats,
    reference: Floats,
) -> Iterator[Cut]:
    @cache
    def reached(run: _Run, count: int) -> float:
        costs = as_costs(_front(run.values[:count], directions), directions)
        scaled = np.maximum((costs - best) / (reference - best), 0.0)
        return hypervolume(scaled, np.ones(len(directions)))

    most = min(float(run.spent[resource][-1]) for run in runs)
    for step in range(1, CUTS + 1):
        at = most * step / CUTS
        # what rounding of sums did must not cut off the last trial
        counts = [
            int(np.searchsorted(run.spent[resource], at * (1 + 1e-9), "right")) for run in runs
        ]
        found = [reached(run, count) for run, count in zip(runs, counts, strict=True)]
        leads = None if found[0] == found[1] else "first" if found[0] > found[1] else "second"
        yield Cut(
            resource=resource,
            at=at,
            first=found[0],
            second=found[1],
            first_trials=counts[0],
            second_trials=counts[1],
            leads=leads,
        )


# What there is to say about each ------------------------------------------------------------------


def _side(
    store: Store,
    spec: StudySpec,
    run: _Run,
    own: Floats,
    other: Floats,
    directions: Sequence[Direction],
) -> Side:
    spent = total(store.spendings(spec.name))
    ordered = own[np.argsort(as_costs(own, directions)[:, 0], kind="stable")]
    return Side(
        study=spec.name,
        spent={name: float(run.spent[name][-1]) for name in RESOURCES},
        in_all={"train_tokens": float(spent.tokens), "train_flops": spent.flops},
        covers=_covered(as_costs(own, directions), as_costs(other, directions)),
        front=tuple(tuple(point) for point in ordered.tolist()),
    )


def _covered(by: Floats, points: Floats) -> float:
    """Share of some points [K, M] that one of `by` dominates: set coverage (Zitzler and Thiele,
    IEEE Transactions on Evolutionary Computation 3(4), 1999), here with strict dominance."""
    as_good = (by[:, None] <= points[None]).all(axis=2)
    better = (by[:, None] < points[None]).any(axis=2)
    return float((as_good & better).any(axis=0).mean())


def _differences(store: Store, first: StudySpec, second: StudySpec) -> Iterator[Unlike]:
    """What could account for a difference, apart from the search."""
    both = (spec.model_dump(mode="json", exclude=set(_NOT_COMPARED)) for spec in (first, second))
    yield from _unlike("", *both)
    machines = [_machine(store, spec.name) for spec in (first, second)]
    if machines[0] != machines[1]:
        yield Unlike(path="machine", first=machines[0], second=machines[1])


def _unlike(path: str, one: Any, other: Any) -> Iterator[Unlike]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _unlike(f"{path}.{key}".lstrip("."), one.get(key), other.get(key))
    elif one != other:
        yield Unlike(path=path, first=one, second=other)


def _machine(store: Store, study: str) -> str | None:
    """The device on which the first complete trial was evaluated."""
    found, _ = store.trials(study, TrialQuery(states=("complete",), count=1))
    if not found or found[0].environment is None:
        return None
    device = store.environment(found[0].environment).get("device")
    return None if device is None else str(device)
