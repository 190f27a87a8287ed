"""The store in one DuckDB file. The only module that imports duckdb.

One process owns the file. Every call opens a cursor of its own, so threads read side by side, each
from one snapshot; writes take turns. A commit is in the write-ahead log, and synced to disk, before
the method returns, so what was acknowledged survives a kill. DuckDB takes no checkpoint by itself:
``_checkpoint`` does, after a copy of what a kill in its middle would damage (``doublewrite``).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import duckdb

from nas.errors import StoreError
from nas.evaluators.base import CurvePoint
from nas.evaluators.composed.records import ModelLatency, PartLatency, Setting
from nas.record import (
    Event,
    Measurement,
    Proposal,
    SpaceVersion,
    StudyRecord,
    StudyState,
    TrialRecord,
)
from nas.search_spaces.architecture import Architecture
from nas.spending import Spending
from nas.store import (
    doublewrite,
    encoding,
    latency_rows,
    opening,
    refusals,
    rows,
    sql,
    statements,
    versions,
)
from nas.store.base import Asked, Point, Told, TrialQuery
from nas.store.sql import Cursor

VERSION = 2
"""Of the schema. A database with a higher one is refused, one with a lower one is brought up."""
OF_A_STUDY = ("log", "trial", "measurement", "curve", "event")
FIRST_TABLES = ("meta", "study", "architecture", "environment", *OF_A_STUDY)
"""Those that every database has had."""
ADDED_TABLES = {
    "latency.sql": latency_rows.TABLES,
    "versions.sql": versions.TABLES,
    "spending.sql": ("spending",),
}
"""By the file that makes them: those that a database of an older release lacks."""
TABLES = (*FIRST_TABLES, *(table for tables in ADDED_TABLES.values() for table in tables))
CONFIG: dict[str, Any] = {
    "threads": 1,  # queries are small, and latency is being measured beside them
    "autoinstall_known_extensions": False,  # never fetch anything
    "autoload_known_extensions": False,
    "checkpoint_threshold": "1TB",  # never: see _checkpoint
}
CHECKPOINT_BYTES = 16 * 2**20
"""Of log; when it has grown to this, it is written into the file, which takes a moment."""
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
            used = sql.one(
                cursor, "SELECT name, spec_hash FROM study WHERE idempotency_key = $key", key=key
            )
            if used is not None and used != (name, spec_hash):
                raise refusals.key_used(str(key), used[0])
            if used is None:
                if sql.one(cursor, "SELECT 1 FROM study WHERE name = $name", name=name):
                    raise refusals.name_taken(name)
                cursor.execute(
                    "INSERT INTO study VALUES (?, ?, 'running', NULL, ?, 0, ?, ?)",
                    [name, text, encoding.now(), key, spec_hash],
                )
        return self.study(name)

    def study(self, name: str) -> StudyRecord:
        with self._reading(name) as cursor:
            return sql.studies(cursor, "WHERE s.name = $name", name=name)[0]

    def studies(self) -> list[StudyRecord]:
        with self._reading() as cursor:
            return sql.studies(cursor)

    def set_state(self, name: str, state: StudyState, reason: str | None = None) -> None:
        with self._writing(name) as cursor:
            cursor.execute(
                "UPDATE study SET state = ?, reason = ? WHERE name = ?", [state, reason, name]
            )
            sql.add_event(cursor, name, "state", {"state": state, "reason": reason})

    def add_seconds(self, name: str, seconds: float) -> None:
        with self._writing(name) as cursor:
            cursor.execute("UPDATE study SET seconds = seconds + ? WHERE name = ?", [seconds, name])

    def delete_study(self, name: str) -> None:
        with self._writing(name) as cursor:
            sql.delete_unshared(cursor, "architecture", ("log", "trial"), name)
            sql.delete_unshared(
                cursor, "environment", ("trial",), name, also=("part_latency", "model_latency")
            )
            for table in (*OF_A_STUDY, *versions.TABLES, "spending"):
                cursor.execute(f"DELETE FROM {table} WHERE study = ?", [name])
            cursor.execute("DELETE FROM study WHERE name = ?", [name])

    def change_space(self, name: str, spec: Mapping[str, Any], version: SpaceVersion) -> None:
        text = encoding.to_json(spec)
        with self._writing(name) as cursor:
            known = self._versions(cursor, name)
            entries = sql.one(cursor, "SELECT count(*) FROM log WHERE study = $name", name=name)
            if (len(known) + 1, entries) != (version.version, (version.entries,)):
                raise refusals.space_moved_on(name)
            kept = known if len(known) == 1 else []  # the first one comes with the first change
            for each in (*kept, version):
                row = versions.row(name, each)
                cursor.execute(f"INSERT INTO space_version VALUES ({sql.marks(row)})", row)
            cursor.execute("UPDATE study SET spec = ? WHERE name = ?", [text, name])
            sql.add_event(cursor, name, "space", versions.event(version))

    def space_versions(self, name: str) -> list[SpaceVersion]:
        with self._reading(name) as cursor:
            return self._versions(cursor, name)

    def _versions(self, cursor: Cursor, name: str) -> list[SpaceVersion]:
        found = cursor.execute(
            f"SELECT {versions.COLUMNS} FROM space_version WHERE study = ? ORDER BY version", [name]
        ).fetchall()
        if found:
            return [versions.read(row) for row in found]
        return [versions.first(sql.studies(cursor, "WHERE s.name = $name", name=name)[0])]

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
                f"INSERT INTO architecture VALUES ({sql.marks(row)}) ON CONFLICT DO NOTHING", row
            )

    def finish(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        kept = encoding.check_record(record)
        row = rows.trial_row(kept)
        with self._writing(kept.study) as cursor:
            try:
                cursor.execute(f"INSERT INTO trial VALUES ({sql.marks(row)})", row)
            except duckdb.ConstraintException as error:
                raise refusals.finished_already(kept.study, kept.number) from error
            self._put_trial(cursor, kept, curves, told)

    def advance(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        kept = encoding.check_record(record)
        place = (kept.study, kept.number)
        before = self.trial(*place)
        with self._writing(kept.study) as cursor:
            if before.state != "stopped":
                raise refusals.not_stopped(*place, before.state)
            names, row = rows.TRIAL_CHANGES, rows.trial_row(kept)[2:]
            changes = ", ".join(f"{name} = ?" for name in names)
            cursor.execute(
                f"UPDATE trial SET {changes} WHERE study = ? AND number = ?", [*row, *place]
            )
            cursor.execute("DELETE FROM measurement WHERE study = ? AND number = ?", place)
            cursor.execute(
                "DELETE FROM curve WHERE study = ? AND number = ? "
                "AND task IN (SELECT unnest(?::VARCHAR[]))",
                [*place, [task for task, points in curves.items() if points]],
            )
            self._put_trial(cursor, kept, curves, told)
            if before.environment not in (None, kept.environment):
                sql.delete_environment(cursor, str(before.environment))

    def _put_trial(
        self,
        cursor: Cursor,
        kept: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None,
    ) -> None:
        """All that belongs to a trial but its own row."""
        place = (kept.study, kept.number)
        columns = rows.measurement_columns(kept.measurements)
        sql.insert_columns(cursor, "measurement", place, columns)
        sql.insert_columns(cursor, "curve", place, rows.curve_columns(curves))
        cursor.execute(
            "INSERT INTO log (study, kind, number, told) VALUES (?, ?, ?, ?)",
            [kept.study, *rows.told_row(told or Told(kept.number))],
        )
        self._keep_environment(cursor, kept.environment)
        sql.add_event(cursor, kept.study, "trial", encoding.trial_event(kept))

    def amend(self, study: str, number: int, measurements: Sequence[Measurement]) -> TrialRecord:
        kept = encoding.check_record(
            self.trial(study, number).model_copy(update={"measurements": tuple(measurements)})
        )
        place = (study, number)
        with self._writing(study) as cursor:
            cursor.execute("DELETE FROM measurement WHERE study = ? AND number = ?", place)
            columns = rows.measurement_columns(kept.measurements)
            sql.insert_columns(cursor, "measurement", place, columns)
            sql.add_event(cursor, study, "amended", encoding.trial_event(kept))
        return kept

    def log(self, study: str) -> list[Asked | Told]:
        with self._reading(study) as cursor:
            found = cursor.execute(
                "SELECT kind, number, proposal, architecture, told FROM log WHERE study = ? "
                "ORDER BY sequence",
                [study],
            ).fetchall()
        return [rows.read_log(row) for row in found]

    def trials(self, study: str, query: TrialQuery) -> tuple[list[TrialRecord], int]:
        with self._reading(study) as cursor:
            page = sql.every(cursor, statements.page(study, query))
            numbers = [row[1] for row in page]
            measurements = sql.every(cursor, statements.measurements(study, numbers))
            ((total,),) = sql.every(cursor, statements.total(study, query))
        return rows.read_trials(page, measurements), total

    def trial(self, study: str, number: int) -> TrialRecord:
        with self._reading(study) as cursor:
            row = sql.trial_row(cursor, study, number)
            measurements = sql.every(cursor, statements.measurements(study, [number]))
        return rows.read_trials([row], measurements)[0]

    def front_values(self, study: str, metrics: Sequence[str]) -> list[Point]:
        with self._reading(study) as cursor:
            found = sql.every(cursor, statements.front_values(study, metrics))
        return [Point(row[0], row[1], row[2:]) for row in found]

    def curves(self, study: str, number: int) -> dict[str, tuple[CurvePoint, ...]]:
        with self._reading(study) as cursor:
            sql.trial_row(cursor, study, number)
            found = cursor.execute(
                "SELECT task, step, tokens, loss FROM curve WHERE study = ? AND number = ? "
                "ORDER BY rowid",
                [study, number],
            ).fetchall()
        return rows.read_curves(found)

    def architecture(self, id: str) -> Architecture:
        with self._reading() as cursor:
            row = sql.one(cursor, "SELECT json FROM architecture WHERE id = $id", id=id)
            if row is None:
                raise refusals.no_architecture(
                    id, sql.column(cursor, "SELECT id FROM architecture")
                )
        return rows.read_architecture(id, row[0])

    def put_environment(self, environment: Mapping[str, Any]) -> str:
        key = encoding.content_id(environment)
        if key not in self._environments:
            self._environments[key] = encoding.to_json(environment)
        with self._writing() as cursor:
            self._keep_environment(cursor, key)
        return key

    def environment(self, id: str) -> dict[str, Any]:
        with self._reading() as cursor:
            row = sql.one(cursor, "SELECT json FROM environment WHERE id = $id", id=id)
            if row is None:
                raise refusals.no_environment(id, sql.column(cursor, "SELECT id FROM environment"))
        return encoding.from_json(row[0])

    def forget_weights(self, study: str, numbers: Sequence[int]) -> None:
        with self._writing(study) as cursor:
            cursor.execute(
                "UPDATE trial SET weights = NULL "
                "WHERE study = ? AND number IN (SELECT unnest(?::INTEGER[]))",
                [study, list(numbers)],
            )

    def add_spending(self, study: str, spending: Spending) -> None:
        with self._writing(study) as cursor:
            row = rows.spending_row(study, spending)
            cursor.execute(
                f"INSERT INTO spending ({rows.SPENDING_OF_STUDY}) VALUES ({sql.marks(row)})", row
            )

    def spendings(self, study: str) -> list[Spending]:
        with self._reading(study) as cursor:
            found = cursor.execute(
                f"SELECT {rows.SPENDING} FROM spending WHERE study = ? ORDER BY sequence", [study]
            ).fetchall()
        return [rows.read_spending(row) for row in found]

    def add_event(self, study: str, kind: str, data: Mapping[str, Any]) -> Event:
        with self._writing(study) as cursor:
            return sql.add_event(cursor, study, kind, data)

    def events(self, study: str, after: int = -1) -> list[Event]:
        with self._reading(study) as cursor:
            found = cursor.execute(
                "SELECT sequence, kind, epoch_us(happened), data FROM event "
                "WHERE study = ? AND sequence > ? ORDER BY sequence",
                [study, after],
            ).fetchall()
        return [rows.read_event(study, row) for row in found]

    def put_device(self, record: Mapping[str, Any]) -> str:
        key = encoding.content_id(record)
        with self._writing() as cursor:
            row = [key, encoding.to_json(record)]
            cursor.execute("INSERT INTO device VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        return key

    def device(self, key: str) -> dict[str, Any]:
        with self._reading() as cursor:
            row = sql.one(cursor, "SELECT json FROM device WHERE key = $key", key=key)
            if row is None:
                raise refusals.no_device(key, sql.column(cursor, "SELECT key FROM device"))
        return encoding.from_json(row[0])

    def put_part_latencies(self, found: Sequence[PartLatency]) -> None:
        latency_rows.check(found)
        with self._writing() as cursor:
            sql.replace_rows(cursor, "part_latency", map(latency_rows.part_row, found))

    def part_latencies(self, setting: Setting) -> list[PartLatency]:
        with self._reading() as cursor:
            statement = (
                f"SELECT {latency_rows.PART} FROM part_latency "
                f"WHERE {latency_rows.same_setting()} ORDER BY part"
            )
            found = cursor.execute(statement, latency_rows.values(setting)).fetchall()
        return [latency_rows.read_part(row) for row in found]

    def put_model_latencies(self, found: Sequence[ModelLatency]) -> None:
        latency_rows.check(found)
        with self._writing() as cursor:
            sql.replace_rows(cursor, "model_latency", map(latency_rows.model_row, found))

    def model_latencies(self, setting: Setting) -> list[ModelLatency]:
        with self._reading() as cursor:
            statement = (
                f"SELECT {latency_rows.MODEL} FROM model_latency "
                f"WHERE {latency_rows.same_setting()} ORDER BY architecture"
            )
            found = cursor.execute(statement, latency_rows.values(setting)).fetchall()
        return [latency_rows.read_model(row) for row in found]

    def export_parquet(self, folder: Path) -> list[Path]:
        """Writes each table as ``<table>.parquet`` for notebooks, all from one moment, and returns
        the files. The folder is made if it is not there; files of those names are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{table}.parquet" for table in TABLES]
        with self._reading() as cursor:
            for table, file in zip(TABLES, files, strict=True):
                target = str(file).replace("'", "''")
                cursor.execute(f"COPY {table} TO '{target}' (FORMAT parquet)")
        return files

    def close(self) -> None:
        """Releases the file; another process may open it then."""
        with _WRITING:
            # What cannot be written into the file now stays in the log, for the next opening.
            with suppress(duckdb.Error, OSError):
                if opening.log_bytes(self.path):
                    _checkpoint(self._root, self.path)
            self._root.close()

    @contextmanager
    def _reading(self, study: str | None = None) -> Iterator[Cursor]:
        """A cursor that sees one moment of the database; if a study is named, it is there."""
        with self._errors_told():
            cursor = self._root.cursor()
            try:
                cursor.begin()
                if study is not None:
                    sql.check_study(cursor, study)
                yield cursor
            finally:
                cursor.close()

    @contextmanager
    def _writing(self, study: str | None = None) -> Iterator[Cursor]:
        """The same, and all that is written is kept, or none of it."""
        with _WRITING:
            with self._reading(study) as cursor:
                yield cursor
                cursor.commit()
            self._shorten_log()

    def _shorten_log(self) -> None:
        """Raises StoreError where it fails, as on a full disk; what was written is in the log."""
        try:
            if opening.log_bytes(self.path) >= CHECKPOINT_BYTES:
                _checkpoint(self._root, self.path)
        except (duckdb.Error, OSError) as error:
            raise StoreError(
                f"all is written to the log of {self.path}, which could not be moved into the "
                f"file: {opening.first_line(str(error))}; make room on its disk and open it again"
            ) from error

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except duckdb.ConnectionException as error:
            raise StoreError(f"the database {self.path} was closed") from error
        except (duckdb.OperationalError, duckdb.InternalError, duckdb.FatalException) as error:
            raise StoreError(
                f"the database {self.path} could not be read or written, and nothing was changed: "
                f"{opening.first_line(str(error))}"
            ) from error

    def _keep_environment(self, cursor: Cursor, id: str | None) -> None:
        if id in self._environments:
            cursor.execute(
                "INSERT INTO environment VALUES (?, ?) ON CONFLICT DO NOTHING",
                [id, self._environments[id]],
            )


def _open(path: Path) -> Cursor:
    """The database in a file, made if there is none. Raises StoreError."""
    opening.check_place(path)
    try:
        if not path.exists():
            _create(path)
        with _WRITING:
            doublewrite.restore(path)
        root = duckdb.connect(path, config=CONFIG)
        root.execute("PRAGMA disable_checkpoint_on_shutdown")
    except (duckdb.Error, OSError) as error:
        raise opening.explain(path, str(error)) from error
    try:
        _check_schema(root, path)
        _add_tables(root)
        _add_columns(root)
        _check_whole(root, path)
    except BaseException:
        root.close()
        raise
    return root


def _checkpoint(root: Cursor, path: Path) -> None:
    """Writes the log into the file. Nothing else writes meanwhile. Raises duckdb.Error, OSError."""
    with root.cursor() as cursor:
        blocks = sql.column(cursor, "SELECT block_id FROM pragma_metadata_info()")
        (size,) = sql.column(cursor, "SELECT block_size FROM pragma_database_size()")
        doublewrite.keep(path, blocks, size)
        cursor.execute("CHECKPOINT")
    doublewrite.drop(path)


def _create(path: Path) -> None:
    """A new database, whole from the moment in which its file appears, whatever kills us."""
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.new")
    try:
        with duckdb.connect(draft, config=CONFIG) as root:
            for name in ("schema.sql", *ADDED_TABLES):
                root.execute(Path(__file__).with_name(name).read_text())
            root.execute("INSERT INTO meta VALUES (?, ?)", [VERSION, encoding.now()])
        _move(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        opening.wal(draft).unlink(missing_ok=True)


def _move(draft: Path, path: Path) -> None:
    """A link fails where another process was quicker; a rename would replace its database."""
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        draft.rename(path)


def _check_schema(root: Cursor, path: Path) -> None:
    tables = sql.column(root, "SELECT table_name FROM duckdb_tables()")
    if not set(FIRST_TABLES) <= set(tables):
        raise StoreError(
            f"{path} is a DuckDB file, but not one of this service (tables: "
            f"{', '.join(tables) or 'none'}); give another file, or a new name to start a database"
        )
    version = max(sql.column(root, "SELECT version FROM meta"), default=0)
    if version > VERSION:
        raise StoreError(
            f"{path} was made by a newer version of this service (schema {version}; this one knows "
            f"up to {VERSION}); upgrade nas-service, or give another file"
        )


def _add_tables(root: Cursor) -> None:
    """Tables that a database of an older release lacks. They change nothing that is there, so that
    release can still read the file, and the version of the schema stays."""
    tables = sql.column(root, "SELECT table_name FROM duckdb_tables()")
    for name, added in ADDED_TABLES.items():
        if not set(added) <= set(tables):
            root.begin()
            root.execute(Path(__file__).with_name(name).read_text())
            root.commit()


def _add_columns(root: Cursor) -> None:
    """Columns that a database of version 1 lacks."""
    if max(sql.column(root, "SELECT version FROM meta"), default=0) < 2:
        root.begin()
        root.execute("ALTER TABLE trial ADD COLUMN rung VARCHAR")
        root.execute("ALTER TABLE log ADD COLUMN told JSON")
        root.execute("UPDATE meta SET version = 2")
        root.commit()


def _check_whole(root: Cursor, path: Path) -> None:
    """DuckDB opens a file that lost its end and fails later, on reading what is missing."""
    ((blocks, size),) = root.execute(
        "SELECT total_blocks, block_size FROM pragma_database_size()"
    ).fetchall()
    if path.stat().st_size >= blocks * size:
        return
    try:  # blocks that were promised may never have been used: only reading can tell
        for table in TABLES:
            root.execute(f"SELECT bit_xor(hash(t)) FROM {table} t").fetchall()
    except duckdb.Error as error:
        raise opening.explain(path, str(error)) from error
