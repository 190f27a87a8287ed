"""What the DuckDB store asks a cursor to do, in pieces that several of its methods share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from nas.record import Event, StudyRecord
from nas.store import encoding, refusals, rows
from nas.store.statements import Statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Cursor: TypeAlias = "DuckDBPyConnection"


def one(cursor: Cursor, sql: str, **parameters: Any) -> rows.Row | None:
    return cursor.execute(sql, parameters).fetchone()


def every(cursor: Cursor, statement: Statement) -> list[rows.Row]:
    return cursor.execute(statement.sql, statement.parameters).fetchall()


def column(cursor: Cursor, sql: str) -> list[Any]:
    return [value for (value,) in cursor.execute(sql).fetchall()]


def marks(row: Sequence[Any]) -> str:
    return ", ".join("?" * len(row))


def insert_columns(
    cursor: Cursor, table: str, place: tuple[str, int], columns: list[list[Any]]
) -> None:
    """Many rows of one trial in one statement, which is far quicker than one for each."""
    if columns[0]:
        lists = ", ".join(["unnest(?)"] * len(columns))
        cursor.execute(f"INSERT INTO {table} SELECT ?, ?, {lists}", [*place, *columns])


def replace_rows(cursor: Cursor, table: str, found: Iterable[rows.Row]) -> None:
    """Rows, each in place of the one with its primary key."""
    listed = list(found)
    if listed:
        cursor.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks(listed[0])})", listed)


def check_study(cursor: Cursor, name: str) -> None:
    if one(cursor, "SELECT 1 FROM study WHERE name = $name", name=name) is None:
        raise refusals.no_study(name, column(cursor, "SELECT name FROM study ORDER BY created"))


def studies(cursor: Cursor, where: str = "", **parameters: Any) -> list[StudyRecord]:
    found = cursor.execute(
        f"SELECT {rows.STUDY} FROM study s LEFT JOIN trial t ON t.study = s.name {where} "
        "GROUP BY ALL ORDER BY epoch_us(s.created) DESC",
        parameters,
    )
    return [rows.read_study(row) for row in found.fetchall()]


def trial_row(cursor: Cursor, study: str, number: int) -> rows.Row:
    row = one(
        cursor,
        f"SELECT {rows.TRIAL} FROM trial t WHERE t.study = $study AND t.number = $number",
        study=study,
        number=number,
    )
    if row is None:
        numbers = cursor.execute("SELECT number FROM trial WHERE study = ?", [study]).fetchall()
        raise refusals.no_trial(study, number, (n for (n,) in numbers))
    return row


def add_event(cursor: Cursor, study: str, kind: str, data: Mapping[str, Any]) -> Event:
    plain, at = encoding.to_plain(data), encoding.now()
    row = one(
        cursor,
        "INSERT INTO event SELECT $study, coalesce(max(sequence) + 1, 0), $kind, $at, $data "
        "FROM event WHERE study = $study RETURNING sequence",
        study=study,
        kind=kind,
        at=at,
        data=encoding.to_json(plain),
    )
    assert row is not None  # RETURNING gives the row that was written
    return Event(sequence=row[0], study=study, kind=kind, at=at, data=plain)


def delete_unshared(
    cursor: Cursor, column: str, tables: Sequence[str], study: str, also: Sequence[str] = ()
) -> None:
    """Deletes the architectures or environments that only this study names. What a row of the
    tables `also` names, which belong to no study, stays."""
    named = " UNION ".join(
        f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL AND study {{0}} $study"
        for table in tables
    )
    kept = "".join(
        f" AND id NOT IN (SELECT {column} FROM {table} WHERE {column} IS NOT NULL)"
        for table in also
    )
    cursor.execute(
        f"DELETE FROM {column} WHERE id IN ({named.format('=')}) "
        f"AND id NOT IN ({named.format('<>')}){kept}",
        {"study": study},
    )


def delete_environment(cursor: Cursor, id: str) -> None:
    """Deletes an environment that nothing names any more."""
    named = " UNION ".join(
        f"SELECT environment FROM {table} WHERE environment IS NOT NULL"
        for table in ("trial", "part_latency", "model_latency")
    )
    cursor.execute(f"DELETE FROM environment WHERE id = ? AND id NOT IN ({named})", [id])
