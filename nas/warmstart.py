"""Starting from another study: whether its values mean the same here, and keeping those used."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from nas.driver.known import KIND
from nas.errors import BadInput, NotFound, Problem
from nas.record import TrialRecord
from nas.search_spaces.architecture import canonical
from nas.search_spaces.base import Model
from nas.store.base import Store, TrialQuery
from nas.study import StudySpec
from nas.transfer import (
    Prices,
    advice,
    depends_on_device,
    fields_that_count,
    priced_on,
    remarks,
)

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
            for text in data["remarks"]:
                store.add_event(spec.name, "note", {"text": text})


def taken(store: Store, spec: StudySpec, index: int) -> dict[str, Any]:
    """The trials that one warm start brings, as data.

    Raises BadInput where the other study does not exist, has no complete trial, or measured
    something else under the same name.
    """
    wanted = spec.warm_start[index]
    path = f"warm_start.{index}"
    other = source(store, wanted.study, f"{path}.study")
    choice = _chosen(store, spec, other, wanted.metrics, path)
    asked = wanted.metrics or [objective.metric for objective in spec.objectives]
    needed = [metric for metric in choice.metrics if metric in asked]
    query = TrialQuery(states=("complete",), limits=tuple((m, None, None) for m in needed))
    records = [r for r in store.trials(other.name, query)[0] if choice.tells_of(r)]
    if not records:
        named = f" with {', '.join(needed)}" if needed else ""
        raise BadInput.at(
            f"{path}.study",
            f"study {other.name!r} has no complete trial{named} to start from",
            given=wanted.study,
            accepted="a study with complete trials",
        )
    held = {record.number for record in records}
    priced = {m: {n: v for n, v in of.items() if n in held} for m, of in choice.priced.items()}
    return {
        "study": other.name,
        "metrics": [*choice.metrics, *choice.priced],
        "trials": len(records),
        "repriced": {metric: len(prices) for metric, prices in priced.items()},
        "unknown": choice.unknown,
        "remarks": list(remarks(other, choice.unknown, priced, len(records))),
        "observations": [_row(store, record, choice) for record in _spaced(records)],
    }


@dataclass(frozen=True)
class _Choice:
    """What is taken from another study."""

    metrics: tuple[str, ...]
    """As they were measured there."""
    priced: Prices
    """As they were found on the target here."""
    unknown: dict[str, str]
    """Objectives and limits that only the target here would tell, and why."""

    def tells_of(self, record: TrialRecord) -> bool:
        """Whether anything is known of a trial that closed form does not say."""
        if self.metrics or not self.priced:
            return True
        return any(record.number in prices for prices in self.priced.values())


def source(store: Store, name: str, path: str) -> StudySpec:
    """Another study. Raises BadInput where it does not exist."""
    try:
        record = store.study(name)
    except NotFound as error:
        raise BadInput(error.message, [Problem(path, error.message, name)]) from None
    return StudySpec.model_validate_json(json.dumps(record.spec))


def _chosen(
    store: Store, spec: StudySpec, other: StudySpec, named: Sequence[str] | None, path: str
) -> _Choice:
    """What is taken. Objectives have to be, unless metrics are named or the target alone is in the
    way; limits are where they can."""
    objectives, useful = _wanted(spec, other, named, path)
    differing = {m: why for m in useful if (why := difference(spec, other, m)) is not None}
    elsewhere = [m for m in differing if m in other.metrics and depends_on_device(spec, m)]
    priced = priced_on(store, other.name, spec.target, elsewhere)
    unknown = {m: differing[m] for m in elsewhere if m not in priced}
    lacking = [m for m in differing if m not in priced]
    asked = objectives if named is None else tuple(named)
    excused = set(unknown) if named is None and set(objectives) - set(lacking) else set[str]()
    if wrong := [metric for metric in asked if metric in lacking and metric not in excused]:
        shared = [metric for metric in useful if metric not in lacking]
        accepted = [f"metrics: [{', '.join(shared)}]"] if shared else []
        accepted += [advice(other, wrong[0])] if wrong[0] in unknown else []
        raise BadInput.at(
            path,
            f"{wrong[0]} of study {other.name!r} cannot be compared: {differing[wrong[0]]}",
            given=other.name,
            accepted="; or ".join(accepted) or "another study",
        )
    taken = useful if named is None else tuple(named)
    return _Choice(
        metrics=tuple(metric for metric in taken if metric not in differing),
        priced={metric: prices for metric, prices in priced.items() if metric in taken},
        unknown=unknown if named is None else {},
    )


def _wanted(
    spec: StudySpec, other: StudySpec, named: Sequence[str] | None, path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The objectives that have to be evaluated, and these with such limits. Raises BadInput where
    another family is searched, and for a named metric that is neither."""
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
    return objectives, useful


def _evaluated(spec: StudySpec, metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(m for m in metrics if spec.metrics[m].stage != "static")


def difference(spec: StudySpec, other: StudySpec, metric: str) -> str | None:
    """Why a metric of another study means something else there; None where it means the same."""
    if metric not in other.metrics:
        return f"it does not measure {metric}"
    if spec.metrics[metric].stage == "scores":
        return _apart("the first task", spec.tasks[0], other.tasks[0])
    if depends_on_device(spec, metric):
        return _apart("the target", spec.target, other.target, fields_that_count(metric))
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


def _apart(
    what: str, here: Model, there: Model, fields: Collection[str] | None = None
) -> str | None:
    """How two of a kind differ, in words, where any or these fields count."""
    include = None if fields is None else set(fields)
    one, two = (each.model_dump(mode="json", include=include) for each in (here, there))
    if one == two:
        return None
    names = [name for name in one if one[name] != two.get(name)] or ["kind"]
    said = ", ".join(f"{name} {two.get(name)} there and {one[name]} here" for name in names)
    return f"{what} differs: {said}"


def _spaced(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    if len(records) <= MOST:
        return list(records)
    return [records[place * len(records) // MOST] for place in range(MOST)]


def _row(store: Store, record: TrialRecord, choice: _Choice) -> dict[str, Any]:
    number = record.number
    found = {metric: record.value(metric) for metric in choice.metrics}
    values = {metric: value for metric, value in found.items() if value is not None}
    values |= {m: prices[number] for m, prices in choice.priced.items() if number in prices}
    return {
        "trial": number,
        "architecture": canonical(store.architecture(record.architecture)),
        "values": values,
    }
