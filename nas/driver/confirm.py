"""Further seeds for what is on the front, or so near that chance could decide: which candidate is
next, and how its measurements become more certain.

N candidates, M objectives
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from scipy.stats import t as student

from nas.doubt import run_deviation, runs_of
from nas.driver.composer import is_composed
from nas.pareto import as_costs, front
from nas.record import Measurement, TrialRecord
from nas.study import StudySpec

NEAR = 2 * sqrt(2)
"""Standard deviations of one run: equal candidates differ by more in one pair of runs out of 20."""
CONFIDENCE = 0.8
"""Of the interval of a mean, so that its ends are the 10th and the 90th percentile."""


def next_to_measure(spec: StudySpec, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """A trial on the front of which a time was composed: further seeds of others may have brought
    it there. None where all of the front was measured."""
    metrics = [objective.metric for objective in spec.objectives]
    complete = [r for r in records if r.state == "complete"]
    if not any(is_composed(m) for r in complete for m in r.measurements):
        return None
    table = np.array([[r.value(metric) for metric in metrics] for r in complete], dtype=float)
    mask = front(table, [objective.direction for objective in spec.objectives])
    best = (r for r, on_front in zip(complete, mask, strict=True) if on_front)
    return next((r for r in best if any(map(is_composed, r.measurements))), None)


def next_to_repeat(spec: StudySpec, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial that most deserves further seeds and lacks some: one whose further seeds
    were interrupted, then those of the front, then those that chance may have kept from it, the
    nearest first. None where there is none, or enough candidates were repeated."""
    metrics = [objective.metric for objective in spec.objectives]
    complete = [r for r in records if r.state == "complete"]
    if spec.confirm is None or not complete:
        return None
    repeated = {r.number for r in complete if not missing_seeds(spec, r)}
    if len(repeated) >= spec.confirm.candidates:
        return None
    lacking = (r for r in complete if r.number not in repeated)
    begun = (r for r in lacking if any(runs_of(r, metric) for metric in metrics))
    if interrupted := next(begun, None):  # its mean has moved, and may hide it from what follows
        return interrupted
    table = np.array([[r.value(metric) for metric in metrics] for r in complete], dtype=float)
    directions = [objective.direction for objective in spec.objectives]
    deviations = np.array([run_deviation(complete, metric)[0] for metric in metrics])
    distance = shortfall(as_costs(table, directions), deviations)
    order = np.lexsort((np.arange(len(complete)), distance))
    waiting = (
        complete[i] for i in order if complete[i].number not in repeated and distance[i] < NEAR
    )
    return next(waiting, None)


def missing_seeds(spec: StudySpec, record: TrialRecord) -> tuple[int, ...]:
    """Which further seeds, 1 and up, a trial has not been run with."""
    done = {m.metric.rpartition("@seed")[2] for m in record.measurements if "@seed" in m.metric}
    wanted = spec.confirm.seeds if spec.confirm else 0
    return tuple(repeat for repeat in range(1, 1 + wanted) if str(repeat) not in done)


def shortfall(costs: "np.ndarray[Any, Any]", deviations: "np.ndarray[Any, Any]") -> Any:
    """By how many standard deviations [M] in every objective each of the points [N, M] would have
    to be better not to be dominated any more: [N], 0 on the front. Small costs are good."""
    best = costs[front(costs, ["minimize"] * costs.shape[1])]
    found = np.zeros(len(costs))
    for index, point in enumerate(costs):
        beaten_by = best[(best <= point).all(axis=1) & (best < point).any(axis=1)]
        if len(beaten_by):
            gaps = point - beaten_by  # [K, M]
            with np.errstate(divide="ignore", invalid="ignore"):
                needed = np.where(deviations > 0, gaps / deviations, np.inf)
            found[index] = needed.min(axis=1).max()
    return found


def with_repeat(
    measurements: Iterable[Measurement], found: Iterable[Measurement], repeat: int
) -> tuple[Measurement, ...]:
    """A trial's measurements after a further seed: of each metric that was found again the mean
    over the seeds with its interval, and the single runs as ``metric@seed0``, ``metric@seed1``."""
    all_of = {m.metric: m for m in measurements}
    for new in found:
        old = all_of.get(new.metric)
        if old is None:
            continue
        single = f"{new.metric}@seed"
        all_of.setdefault(f"{single}0", _named(old, f"{single}0"))
        all_of[f"{single}{repeat}"] = _named(new, f"{single}{repeat}")
        runs = [m.value for name, m in all_of.items() if name.startswith(single)]
        all_of[new.metric] = _mean(old, runs)
    return tuple(all_of.values())


def _mean(old: Measurement, runs: Sequence[float]) -> Measurement:
    """With an interval by Student's t, from the runs of this candidate alone."""
    mean, count = float(np.mean(runs)), len(runs)
    half = student.ppf((1 + CONFIDENCE) / 2, count - 1) * float(np.std(runs, ddof=1)) / sqrt(count)
    changed = {"value": mean, "low": mean - half, "high": mean + half, "repeats": count}
    return old.model_copy(update=changed)


def _named(measurement: Measurement, metric: str) -> Measurement:
    return measurement.model_copy(update={"metric": metric})
