"""Starting from another study: whether its values mean the same here, and keeping those used."""

import json
from collections.abc import Sequence
from typing import Any

from nas.driver.known import KIND
from nas.errors import BadInput, NotFound, Problem
from nas.record import TrialRecord
from nas.search_spaces.architecture import canonical
from nas.search_spaces.base import Model
from nas.store.base import Store, TrialQuery
from nas.study import StudySpec

MOST = 1000
"""Trials taken from one study; of a larger one, evenly spaced ones."""


def freeze(store: Store, spec: StudySpec) -> None:
    """Writes the trials of each warm start into the study's own log, once. What becomes of the
    other study later changes nothing."""
    if not spec.warm_start:
        return
    there = {event.data["study"] for event in store.events(spec.name) if event.kind == KIND}
    found = [taken(store, spec, index) for index in range(len(spec.warm_start))]
    for data in found:
        if data["study"] not in there:
            store.add_event(spec.name, KIND, data)


def taken(store: Store, spec: StudySpec, index: int) -> dict[str, Any]:
    """The trials that one warm start brings, as data.

    Raises BadInput where the other study does not exist, has no complete trial, or measured
    something else under the same name.
    """
    wanted = spec.warm_start[index]
    path = f"warm_start.{index}"
    other = source(store, wanted.study, f"{path}.study")
    metrics = _metrics(spec, other, wanted.metrics, path)
    query = TrialQuery(states=("complete",), limits=tuple((m, None, None) for m in metrics))
    records = store.trials(other.name, query)[0]
    if not records:
        named = f" with {', '.join(metrics)}" if metrics else ""
        raise BadInput.at(
            f"{path}.study",
            f"study {other.name!r} has no complete trial{named} to start from",
            given=wanted.study,
            accepted="a study with complete trials",
        )
    return {
        "study": other.name,
        "metrics": list(metrics),
        "trials": len(records),
        "observations": [_row(store, record, metrics) for record in _spaced(records)],
    }


def source(store: Store, name: str, path: str) -> StudySpec:
    """Another study. Raises BadInput where it does not exist."""
    try:
        record = store.study(name)
    except NotFound as error:
        raise BadInput(error.message, [Problem(path, error.message, name)]) from None
    return StudySpec.model_validate_json(json.dumps(record.spec))


def _metrics(
    spec: StudySpec, other: StudySpec, named: Sequence[str] | None, path: str
) -> tuple[str, ...]:
    """What is taken. Objectives have to be, unless metrics are named; limits are where they can."""
    if spec.space.family != other.space.family:
        raise BadInput.at(
            f"{path}.study",
            f"study {other.name!r} searches family {other.space.family}, this one "
            f"{spec.space.family}",
            given=other.name,
            accepted="a study of the same family",
        )
    objectives = _evaluated(spec, [objective.metric for objective in spec.objectives])
    limits = _evaluated(spec, [limit.metric for limit in spec.limits])
    useful = tuple(dict.fromkeys((*objectives, *limits)))
    if unknown := [metric for metric in named or () if metric not in useful]:
        raise BadInput.at(
            f"{path}.metrics",
            f"{unknown[0]} is neither an objective nor a limit of this study that has to be "
            "evaluated",
            given=unknown[0],
            accepted=", ".join(useful) or "no metric",
        )
    differing = {m: why for m in useful if (why := difference(spec, other, m)) is not None}
    asked = objectives if named is None else tuple(named)
    if wrong := [metric for metric in asked if metric in differing]:
        shared = [metric for metric in useful if metric not in differing]
        alone = f"metrics: [{', '.join(shared)}]" if shared else "another study"
        raise BadInput.at(
            path,
            f"{wrong[0]} of study {other.name!r} cannot be compared: {differing[wrong[0]]}",
            given=other.name,
            accepted=alone,
        )
    return tuple(m for m in (useful if named is None else named) if m not in differing)


def _evaluated(spec: StudySpec, metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(m for m in metrics if spec.metrics[m].stage != "static")


def difference(spec: StudySpec, other: StudySpec, metric: str) -> str | None:
    """Why a metric of another study means something else there; None where it means the same."""
    if metric not in other.metrics:
        return f"it does not measure {metric}"
    stage = spec.metrics[metric].stage
    if not stage.startswith("train"):
        if stage == "scores":
            return _apart("the first task", spec.tasks[0], other.tasks[0])
        return _apart("the target", spec.target, other.target)
    here, there = (_tokens(each, metric) for each in (spec, other))
    if here != there:
        return f"it trains on {there} tokens and this study on {here}"
    kind = metric.split(".")[0]
    tasks = [next((t for t in each.tasks if t.kind == kind), None) for each in (spec, other)]
    if tasks[0] is None or tasks[1] is None:
        return None if spec.tasks == other.tasks else "the tasks differ"
    return _apart(f"task {kind}", tasks[0], tasks[1])


def _tokens(spec: StudySpec, metric: str) -> int:
    stage = spec.metrics[metric].stage
    return next(training.tokens for training in spec.trainings if training.stage == stage)


def _apart(what: str, here: Model, there: Model) -> str | None:
    if here == there:
        return None
    one, two = here.model_dump(mode="json"), there.model_dump(mode="json")
    names = [name for name in one if one[name] != two.get(name)] or ["kind"]
    said = ", ".join(f"{name} {two.get(name)} there and {one[name]} here" for name in names)
    return f"{what} differs: {said}"


def _spaced(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    if len(records) <= MOST:
        return list(records)
    return [records[place * len(records) // MOST] for place in range(MOST)]


def _row(store: Store, record: TrialRecord, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "trial": record.number,
        "architecture": canonical(store.architecture(record.architecture)),
        "values": {metric: record.value(metric) for metric in metrics},
    }
