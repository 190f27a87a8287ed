"""The trade-off of a study, from what its store holds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas.pareto import front, knee
from nas.record import Measurement
from nas.store.base import Store, TrialQuery
from nas.study import Limit, Objective

if TYPE_CHECKING:
    from nas.doubt import Error


class Doubt(NamedTuple):
    """How sure a front is, by number of the trial."""

    probabilities: Mapping[int, float]
    """That nothing dominates a trial; empty where `reason` says why."""
    errors: Mapping[int, Mapping[str, "Error"]]
    """Of each metric about whose spread something is known."""
    draws: int
    reason: str | None


def doubt_of(
    store: Store,
    study: str,
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    *,
    seed: int,
) -> Doubt:
    """Of the trials that `front_of` considers, with the same limits. Reads every complete trial."""
    from nas.doubt import columns_of, probabilities

    metrics = [objective.metric for objective in objectives]
    wanted = [(metric, None, None) for metric in metrics]
    bounds = [(limit.metric, limit.min, limit.max) for limit in limits]
    query = TrialQuery(states=("complete",), limits=(*wanted, *bounds))
    records = store.trials(study, query)[0]
    columns, unknown = columns_of(records, metrics)
    known = [metric for metric in metrics if metric not in {each.metric for each in unknown}]
    errors = {
        record.number: {
            metric: column.errors[index] for metric, column in zip(known, columns, strict=True)
        }
        for index, record in enumerate(records)
    }
    if unknown or not records:
        return Doubt({}, errors, 0, "; ".join(each.reason for each in unknown) or None)
    table = np.array([[record.value(metric) for metric in metrics] for record in records])
    directions = [objective.direction for objective in objectives]
    shares, draws = probabilities(table.astype(float), columns, directions, seed=seed)
    numbers = [record.number for record in records]
    return Doubt(dict(zip(numbers, shares.tolist(), strict=True)), errors, draws, None)


def front_of(
    store: Store, study: str, objectives: Sequence[Objective], limits: Sequence[Limit]
) -> tuple[int, list[int], int | None]:
    """(complete trials considered, numbers on the front sorted by the first metric, the knee)."""
    metrics = [objective.metric for objective in objectives]
    rows = store.front_values(study, [*metrics, *(limit.metric for limit in limits)])
    kept = [
        (number, values[: len(metrics)])
        for number, _, values in rows
        if all(
            limit.excess(value) == 0.0
            for limit, value in zip(limits, values[len(metrics) :], strict=True)
        )
    ]
    if not kept:
        return 0, [], None
    table = np.array([values for _, values in kept], dtype=float)
    directions = [objective.direction for objective in objectives]
    chosen = np.flatnonzero(front(table, directions))
    best = kept[chosen[knee(table[chosen], directions)]][0]
    sign = 1 if directions[0] == "minimize" else -1
    ordered = sorted(chosen, key=lambda index: sign * table[index, 0])
    return len(kept), [kept[index][0] for index in ordered], best


def best_of(
    store: Store, study: str, objectives: Sequence[Objective]
) -> list[tuple[int, Measurement]]:
    """(trial, measurement) of the best value of each objective, where there is one."""
    found = []
    for objective in objectives:
        query = TrialQuery(
            states=("complete",),
            limits=((objective.metric, None, None),),
            sort=objective.metric,
            descending=objective.direction == "maximize",
            count=1,
        )
        records, _ = store.trials(study, query)
        for record in records:
            found += [
                (record.number, m) for m in record.measurements if m.metric == objective.metric
            ]
    return found


def count_states(store: Store, study: str) -> dict[str, int]:
    """How many trials ended in which state."""
    states = ("complete", "stopped", "failed", "infeasible", "repeat")
    return {
        state: store.trials(study, TrialQuery(states=(state,), count=0))[1]  # type: ignore[arg-type]
        for state in states
    }
