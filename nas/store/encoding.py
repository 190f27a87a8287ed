"""Records to JSON and times, in the one way that both stores share."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
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
    """The record as it is kept: its time in UTC, each metric once and finite.

    Raises ValueError otherwise: a trial with two values of a metric could not be compared, and one
    with NaN could not be sent as JSON. Such a trial has failed, and is recorded as that.
    """
    metrics = [m.metric for m in record.measurements]
    wrong = {m.metric: m.value for m in record.measurements if metrics.count(m.metric) > 1}
    wrong |= {m.metric: m.value for m in record.measurements if not isfinite(m.value)}
    if wrong:
        raise ValueError(f"trial {record.number}: not one finite value each: {wrong}")
    return record.model_copy(update={"started": record.started.astimezone(UTC)}, deep=True)
