"""Records to rows of ``schema.sql`` and back. No database here."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeAlias

from pydantic import ValidationError

from nas.errors import StoreError
from nas.evaluators.base import CurvePoint
from nas.record import Event, Failure, Measurement, Proposal, StudyRecord, TrialRecord
from nas.search_spaces.architecture import Architecture
from nas.spending import Spending
from nas.store import encoding
from nas.store.base import Asked, Told

Row: TypeAlias = tuple[Any, ...]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

STUDY = (
    "s.name, s.spec, s.state, s.reason, epoch_us(s.created), s.seconds, "
    # as TrialRecord.evaluated
    "count(*) FILTER (t.state IN ('complete', 'failed', 'stopped') "
    "OR (t.state = 'infeasible' AND EXISTS ("
    "SELECT 1 FROM measurement m WHERE m.study = t.study AND m.number = t.number "
    "AND m.stage <> 'static' AND (m.stage <> 'composed' OR t.environment IS NOT NULL)))), "
    "count(t.number), "
    "(SELECT coalesce(max(v.version), 1) FROM space_version v WHERE v.study = s.name)"
)
TRIAL = (
    "t.study, t.number, t.architecture, t.answers, t.state, t.proposer, t.fallback, t.repeat_of, "
    "t.reason, t.failure_stage, t.failure_kind, t.failure_message, t.environment, t.weights, "
    "epoch_us(t.started), t.seconds, t.rung"
)
TRIAL_CHANGES = (
    "architecture", "answers", "state", "proposer", "fallback", "repeat_of", "reason",
    "failure_stage", "failure_kind", "failure_message", "environment", "weights", "started",
    "seconds", "rung",
)  # fmt: skip
"""Columns of the table ``trial`` after study and number."""
SPENDING = "number, repeat, stages, train_tokens, train_flops"
SPENDING_OF_STUDY = f"study, {SPENDING}"
MEASUREMENT = "m.number, m.metric, m.value, m.unit, m.stage, m.low, m.high, m.repeats"


def read_time(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def read_study(row: Row) -> StudyRecord:
    """A row of the columns `STUDY`."""
    name, spec, state, reason, created, seconds, trials, proposals, version = row
    return StudyRecord(
        name=name,
        spec=encoding.from_json(spec),
        state=state,
        reason=reason,
        created=read_time(created),
        trials=trials,
        proposals=proposals,
        seconds=seconds,
        space_version=version,
    )


def architecture_row(architecture: Architecture) -> Row:
    """A row of the table ``architecture``."""
    cost = architecture.cost(context=1)  # parameters do not depend on the context
    return (
        architecture.id,
        architecture.model_dump_json(),
        architecture.vocab,
        architecture.dim,
        architecture.depth,
        [layer.mixer.kind for layer in architecture.layers],
        [layer.ffn.kind for layer in architecture.layers],
        cost.params,
        cost.active_params,
    )


def read_architecture(id: str, text: str) -> Architecture:
    """The stored JSON as an architecture.

    Raises StoreError if this version does not know one of its parts.
    """
    try:
        return Architecture.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"architecture {id} was stored by another version of the service and cannot be read by "
            f"this one ({path}: {first['msg']}); use the version that wrote it"
        ) from error


def read_log(row: Row) -> Asked | Told:
    """A row (kind, number, proposal, architecture, told)."""
    kind, number, proposal, architecture, told = row
    if kind == "told":
        return Told(number)
    if told is not None:
        said = encoding.from_json(told)
        return Told(number, said["rung"], tuple(said["values"]), said["passes"])
    return Asked(Proposal.model_validate_json(proposal), architecture)


def told_row(told: Told) -> Row:
    """(kind, number, told) of the table ``log``; a trial is told once at each rung and once more
    when it has finished."""
    if told.rung is None:
        return "told", told.number, None
    said = {"rung": told.rung, "values": told.values, "passes": told.passes}
    return f"told@{told.rung}", told.number, encoding.to_json(said)


def trial_row(record: TrialRecord) -> Row:
    """A row of the table ``trial``."""
    failure = record.failure
    return (
        record.study,
        record.number,
        record.architecture,
        encoding.to_json(record.answers),
        record.state,
        record.proposer,
        record.fallback,
        record.repeat_of,
        record.reason,
        failure.stage if failure else None,
        failure.kind if failure else None,
        failure.message if failure else None,
        record.environment,
        record.weights,
        record.started,
        record.seconds,
        record.rung,
    )


def measurement_columns(measurements: Sequence[Measurement]) -> list[list[Any]]:
    """Columns of the table ``measurement``, from ``position`` on."""
    names = ("metric", "value", "unit", "stage", "low", "high", "repeats")
    columns = [[getattr(m, name) for m in measurements] for name in names]
    return [list(range(len(measurements))), *columns]


def curve_columns(curves: Mapping[str, Sequence[CurvePoint]]) -> list[list[Any]]:
    """Columns of the table ``curve``, from ``task`` on."""
    points = [(task, point) for task, points in curves.items() for point in points]
    columns = [[getattr(point, name) for _, point in points] for name in ("step", "tokens", "loss")]
    return [[task for task, _ in points], *columns]


def read_trials(trials: Iterable[Row], measurements: Iterable[Row]) -> list[TrialRecord]:
    """Rows of the columns `TRIAL`, with their rows of the columns `MEASUREMENT`, which come in
    order of trial and position."""
    by_number = {
        number: tuple(_read_measurement(row) for row in rows)
        for number, rows in groupby(measurements, key=lambda row: row[0])
    }
    return [_read_trial(row, by_number.get(row[1], ())) for row in trials]


def _read_measurement(row: Row) -> Measurement:
    _, metric, value, unit, stage, low, high, repeats = row
    return Measurement(
        metric=metric, value=value, unit=unit, stage=stage, low=low, high=high, repeats=repeats
    )


def _read_trial(row: Row, measurements: tuple[Measurement, ...]) -> TrialRecord:
    study, number, architecture, answers, state, proposer, fallback, repeat_of = row[:8]
    reason, stage, kind, message, environment, weights, started, seconds, rung = row[8:]
    return TrialRecord(
        study=study,
        number=number,
        architecture=architecture,
        answers=encoding.from_json(answers),
        state=state,
        proposer=proposer,
        fallback=fallback,
        repeat_of=repeat_of,
        reason=reason,
        measurements=measurements,
        failure=None if stage is None else Failure(stage=stage, kind=kind, message=message),
        rung=rung,
        environment=environment,
        weights=weights,
        started=read_time(started),
        seconds=seconds,
    )


def read_curves(rows: Iterable[Row]) -> dict[str, tuple[CurvePoint, ...]]:
    """Rows (task, step, tokens, loss), in the order in which they were written."""
    curves: dict[str, list[CurvePoint]] = {}
    for task, step, tokens, loss in rows:
        curves.setdefault(task, []).append(CurvePoint(step, tokens, loss))
    return {task: tuple(points) for task, points in curves.items()}


def spending_row(study: str, spending: Spending) -> Row:
    """A row of the columns `SPENDING_OF_STUDY`."""
    return (
        study,
        spending.number,
        spending.repeat,
        list(spending.stages),
        spending.train_tokens,
        spending.train_flops,
    )


def read_spending(row: Row) -> Spending:
    """A row of the columns `SPENDING`."""
    number, repeat, stages, tokens, flops = row
    return Spending(
        number=number,
        repeat=repeat,
        stages=tuple(stages),
        train_tokens=tokens,
        train_flops=flops,
    )


def read_event(study: str, row: Row) -> Event:
    """A row (sequence, kind, microseconds, data)."""
    sequence, kind, at, data = row
    return Event(
        sequence=sequence, study=study, kind=kind, at=read_time(at), data=encoding.from_json(data)
    )
