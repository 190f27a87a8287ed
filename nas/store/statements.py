"""A TrialQuery as SQL. Values go in as parameters, never as text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.store import rows
from nas.store.base import TrialQuery


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with named parameters."""

    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)


def page(study: str, query: TrialQuery) -> Statement:
    """The trials of one page, in order, as the columns ``rows.TRIAL``."""
    where = _where(study, query)
    join, parameters = "", dict(where.parameters)
    if query.sort in ("number", "seconds", "started"):
        key = f"t.{query.sort}"
    else:
        key, parameters["sort"] = "k.value", query.sort
        join = (
            "LEFT JOIN measurement k "
            "ON k.study = $study AND k.number = t.number AND k.metric = $sort"
        )
    order = "DESC" if query.descending else "ASC"
    limit = "" if query.count is None else "LIMIT $count"
    if query.count is not None:
        parameters["count"] = query.count
    return Statement(
        f"SELECT {rows.TRIAL} FROM trial t {join} WHERE {where.sql} "
        f"ORDER BY {key} {order} NULLS LAST, t.number {limit} OFFSET $offset",
        {**parameters, "offset": query.offset},
    )


def total(study: str, query: TrialQuery) -> Statement:
    """How many trials match, on all pages."""
    where = _where(study, query)
    return Statement(f"SELECT count(*) FROM trial t WHERE {where.sql}", where.parameters)


def measurements(study: str, numbers: Sequence[int]) -> Statement:
    """The measurements of some trials, as the columns ``rows.MEASUREMENT``."""
    return Statement(
        f"SELECT {rows.MEASUREMENT} FROM measurement m "
        "WHERE m.study = $study AND m.number IN (SELECT unnest($numbers::INTEGER[])) "
        "ORDER BY m.number, m.position",
        {"study": study, "numbers": list(numbers)},
    )


def front_values(study: str, metrics: Sequence[str]) -> Statement:
    """Number, architecture and the metrics of the complete trials that have them all."""
    named = {f"metric{i}": metric for i, metric in enumerate(metrics)}
    columns = "".join(f", m{i}.value" for i in range(len(metrics)))
    joins = " ".join(
        f"JOIN measurement m{i} "
        f"ON m{i}.study = $study AND m{i}.number = t.number AND m{i}.metric = $metric{i}"
        for i in range(len(metrics))
    )
    return Statement(
        f"SELECT t.number, t.architecture{columns} FROM trial t {joins} "
        "WHERE t.study = $study AND t.state = 'complete' ORDER BY t.number",
        {"study": study, **named},
    )


def _where(study: str, query: TrialQuery) -> Statement:
    conditions = ["t.study = $study"]
    parameters: dict[str, Any] = {"study": study}
    if query.states:
        conditions.append("t.state IN (SELECT unnest($states::VARCHAR[]))")
        parameters["states"] = list(query.states)
    for index, limit in enumerate(query.limits):
        condition = _within(index, *limit)
        conditions.append(condition.sql)
        parameters.update(condition.parameters)
    return Statement(" AND ".join(conditions), parameters)


def _within(index: int, metric: str, low: float | None, high: float | None) -> Statement:
    """That a trial has the metric, inside its bounds."""
    parameters: dict[str, Any] = {f"metric{index}": metric}
    sql = f"m.study = $study AND m.metric = $metric{index}"
    if low is not None:
        sql, parameters[f"low{index}"] = f"{sql} AND m.value >= $low{index}", low
    if high is not None:
        sql, parameters[f"high{index}"] = f"{sql} AND m.value <= $high{index}", high
    return Statement(f"t.number IN (SELECT m.number FROM measurement m WHERE {sql})", parameters)
