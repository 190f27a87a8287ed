"""The store in one DuckDB file. The only module that imports duckdb.

One process owns the file. Every call opens a cursor of its own, so threads read side by side, each
from one snapshot; writes take turns. A commit is in the write-ahead log, and synced to disk, before
the method returns, so what was acknowledged survives a kill.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb

from nas.errors import StoreError
from nas.evaluators.base import CurvePoint
from nas.record import Event, Proposal, StudyRecord, StudyState, TrialRecord
from nas.search_spaces.architecture import Architecture
from nas.store import encoding, opening, query, refusals, rows
from nas.store.base import Asked, Point, Told, TrialQuery

VERSION = 1
"""Of the schema. A database with a higher one is refused."""
TABLES = (
    "study",
    "architecture",
    "environment",
    "log",
    "trial",
    "measurement",
    "curve",
    "event",
    "meta",
)
CONFIG: dict[str, Any] = {
    "threads": 1,  # queries are small, and latency is being measured beside them
    "autoinstall_known_extensions": False,  # never fetch anything
    "autoload_known_extensions": False,
}
_WRITING = Lock()
"""Held by whoever writes. One for the process, because two stores on one file share a database."""


class DuckDBStore:
    """The protocol of ``base.Store``, in the file `path`, which is made if it is not there.

    Raises StoreError if the file cannot be opened, is held by another process, is no database of
    this service, or was made by a newer version of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._root = _open(self.path)
        self._environments: dict[str, str] = {}
        """Put by this process: a running trial may name one whose last study was deleted."""

    def create_study(self, name: str, spec: Mapping[str, Any], key: str | None) -> StudyRecord:
        text, spec_hash = encoding.to_json(spec), encoding.content_id(spec)
        with self._writing() as cursor:
            used = _one(
                cursor, "SELECT name, spec_hash FROM study WHERE idempotency_key = $key", key=key
            )
            if used is not None and used != (name, spec_hash):
                raise refusals.key_used(str(key), used[0])
            if used is None:
                if _one(cursor, "SELECT 1 FROM study WHERE name = $name", name=name):
                    raise refusals.name_taken(name)
                cursor.execute(
                    "INSERT INTO study VALUES (?, ?, 'running', NULL, ?, 0, ?, ?)",
                    [name, text, encoding.now(), key, spec_hash],
                )
        return self.study(name)

    def study(self, name: str) -> StudyRecord:
        with self._reading() as cursor:
            found = _studies(cursor, "WHERE s.name = $name", name=name)
            if not found:
                raise _no_study(cursor, name)
            return found[0]

    def studies(self) -> list[StudyRecord]:
        with self._reading() as cursor:
            return _studies(cursor)

    def set_state(self, name: str, state: StudyState, reason: str | None = None) -> None:
        with self._writing(name) as cursor:
            cursor.execute(
                "UPDATE study SET state = ?, reason = ? WHERE name = ?", [state, reason, name]
            )
            _add_event(cursor, name, "state", {"state": state, "reason": reason})

    def add_seconds(self, name: str, seconds: float) -> None:
        with self._writing(name) as cursor:
            cursor.execute(
                "UPDATE study SET seconds = seconds + ? WHERE name = ?", [seconds, name]
            )

    def delete_study(self, name: str) -> None:
        with self._writing(name) as cursor:
            _delete_unshared(cursor, "architecture", ("log", "trial"), name)
            _delete_unshared(cursor, "environment", ("trial",), name)
            for table in ("log", "trial", "measurement", "curve", "event"):
                cursor.execute(f"DELETE FROM {table} WHERE study = ?", [name])
            cursor.execute("DELETE FROM study WHERE name = ?", [name])

    def ask(self, study: str, proposal: Proposal, architecture: Architecture) -> None:
        text = encoding.to_json(proposal.model_dump())
        row = rows.architecture_row(architecture)
        with self._writing(study) as cursor:
            try:
                cursor.execute(
                    "INSERT INTO log (study, kind, number, proposal, architecture) "
                    "VALUES (?, 'asked', ?, ?, ?)",
                    [study, proposal.number, text, architecture.id],
                )
            except duckdb.ConstraintException as error:
                raise refusals.asked_already(study, proposal.number) from error
            cursor.execute(
                f"INSERT INTO architecture VALUES ({_marks(row)}) ON CONFLICT DO NOTHING", row
            )

    def finish(self, record: TrialRecord, curves: Mapping[str, Sequence[CurvePoint]]) -> None:
        kept = encoding.check_record(record)
        row = rows.trial_row(kept)
        with self._writing(kept.study) as cursor:
            try:
                cursor.execute(f"INSERT INTO trial VALUES ({_marks(row)})", row)
            except duckdb.ConstraintException as error:
                raise refusals.finished_already(kept.study, kept.number) from error
            place = (kept.study, kept.number)
            _insert_columns(
                cursor, "measurement", place, rows.measurement_columns(kept.measurements)
            )
            _insert_columns(cursor, "curve", place, rows.curve_columns(curves))
            cursor.execute("INSERT INTO log (study, kind, number) VALUES (?, 'told', ?)", place)
            self._keep_environment(cursor, kept.environment)
            _add_event(cursor, kept.study, "trial", encoding.trial_event(kept))

    def log(self, study: str) -> list[Asked | Told]:
        with self._reading(study) as cursor:
            found = cursor.execute(
                "SELECT kind, number, proposal, architecture FROM log WHERE study = ? "
                "ORDER BY sequence",
                [study],
            ).fetchall()
        return [rows.read_log(row) for row in found]

    def trials(self, study: str, query_: TrialQuery) -> tuple[list[TrialRecord], int]:
        raise SystemExit

    def close(self) -> None:
        """Releases the file; another process may open it then."""
        with _WRITING:
            self._root.close()
