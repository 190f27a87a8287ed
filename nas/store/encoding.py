"""Records to JSON and times, in the one way that both stores share."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from nas.record import TrialRecord


def to_json(data: Mapping[str, Any]) -> str:
    """JSON text. Raises ValueError for NaN and infinity, which JSON cannot hold."""
    return json.dumps(to_jsonable_python(dict(data)), ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> dict[str, Any]:
    """The reverse of `to_json`."""
    data: dict[str, Any] = json.loads(text)
    return data


def to_plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy made of what JSON can hold; NaN and infinity become None.

    For events, which are notes to be read by people: a loss that is not a number must not stop the
    study that reports it.
    """
    plain: dict[str, Any] = to_jsonable_python(dict(data), inf_nan_mode="null")
    return plain


def content_id(data: Mapping[str, Any]) -> str:
    """12 hex digits of the content, whatever the order of its keys."""
    text = json.dumps(from_json(to_json(data)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def now() -> datetime:
    """The time in UTC, with its zone."""
    return datetime.now(UTC)


def trial_event(record: TrialRecord) -> dict[str, Any]:
    """What the ``trial`` event of a finished trial says."""
    return {
        "number": record.number,
        "state": record.state,
        "values": {m.metric: m.value for m in record.measurements},
    }


def check_record(record: TrialRecord) -> TrialRecord:
    """The record as it is kept: its time in UTC, each metric once.

    Raises ValueError for a metric that is measured twice: the trial would have two values of it.
    """
    metrics = [m.metric for m in record.measurements]
    twice = sorted({metric for metric in metrics if metrics.count(metric) > 1})
    if twice:
        raise ValueError(f"trial {record.number} measures twice: {', '.join(twice)}")
    return record.model_copy(update={"started": record.started.astimezone(UTC)}, deep=True)
