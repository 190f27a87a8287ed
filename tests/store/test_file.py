"""The DuckDB store's file: opened again, held by another process, or not a database."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest

from nas.errors import StoreError
from nas.store import opening
from nas.store.base import TrialQuery
from nas.store.duckdb import TABLES, VERSION, DuckDBStore
from tests.store.samples import CURVES, architecture, measurement, proposal, record, run_trial
from tests.store.writer import Writers

VALUES = {"loss": 1.5, "params": 2.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nas.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[DuckDBStore]:
    """With one study, of one trial."""
    with closing(DuckDBStore(path)) as made:
        made.create_study("s", {"seed": 0}, "key")
        run_trial(made, record(0, VALUES, environment=made.put_environment({"torch": "2.13"})))
        yield made


def test_everything_is_there_when_opened_again(store: DuckDBStore, path: Path) -> None:
    store.set_state("s", "stopped", "asked to")
    store.add_seconds("s", 2.5)
    shown, events, log = store.study("s"), store.events("s"), store.log("s")
    trial = store.trial("s", 0)
    store.close()
    with closing(DuckDBStore(path)) as again:
        assert again.studies() == [shown]
        assert again.events("s") == events
        assert again.log("s") == log
        assert again.trials("s", TrialQuery()) == ([trial], 1)
        assert again.curves("s", 0) == CURVES
        assert again.architecture(architecture().id) == architecture()
        assert again.environment(trial.environment or "") == {"torch": "2.13"}
        assert again.create_study("s", {"seed": 0}, "key") == shown
        assert again.add_event("s", "note", {}).sequence == len(events)


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "ä b" / "it's" / "nas.duckdb"
    DuckDBStore(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_two_stores_of_one_process_share_a_file(store: DuckDBStore, path: Path) -> None:
    with closing(DuckDBStore(path)) as other:
        other.add_event("s", "note", {})
        run_trial(store, record(1))
        assert other.events("s") == store.events("s")
        assert len(other.events("s")) == 3


def test_a_closed_store_says_so(store: DuckDBStore, path: Path) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match=f"{path.name} was closed"):
        store.studies()
    with pytest.raises(StoreError, match="was closed"):
        store.add_event("s", "note", {})


NOT_DATABASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("name: quickstart\n" * 1000), "is not a DuckDB file"),
    "short text": (lambda path: path.write_text("x"), "is not a DuckDB file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty, not a DuckDB file"),
    "folder": (lambda path: path.mkdir(), "is a folder, not a database file"),
    "sqlite": (lambda path: path.write_bytes(b"SQLite format 3\0" * 512), "is not a DuckDB file"),
    "other": (
        lambda path: duckdb.connect(path).execute("CREATE TABLE fish (n INTEGER)").close(),
        r"not one of this service \(tables: fish\)",
    ),
    "log alone": (
        lambda path: path.with_name(path.name + ".wal").write_bytes(b"x"),
        "log of a database that is not there",
    ),
}


@pytest.mark.parametrize("kind", NOT_DATABASES)
def test_what_is_no_database_is_refused_and_left_as_it_is(path: Path, kind: str) -> None:
    write, message = NOT_DATABASES[kind]
    write(path)
    before = {file: file.is_file() and file.read_bytes() for file in path.parent.rglob("*")}
    with pytest.raises(StoreError, match=message):
        DuckDBStore(path)
    after = {file: file.is_file() and file.read_bytes() for file in path.parent.rglob("*")}
    assert after == before


@pytest.mark.parametrize("part", [0.001, 0.03, 0.5])
def test_a_file_that_was_cut_short_is_refused(store: DuckDBStore, path: Path, part: float) -> None:
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(StoreError, match=r"is cut short|is not a DuckDB file"):
        DuckDBStore(path)


def test_a_damaged_block_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "nas.duckdb"
    with closing(DuckDBStore(path)) as store:
        store.create_study("s", {}, None)
    with path.open("r+b") as file:  # behind the three headers of 4096 bytes
        file.seek(3 * 4096 + 100)
        file.write(bytes(64))
    with pytest.raises(StoreError, match=r"is damaged .*restore both from a copy") as failed:
        DuckDBStore(path)
    assert "held by" not in failed.value.message


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the folder of .*nas.duckdb cannot be made"):
        DuckDBStore(tmp_path / "file" / "data" / "nas.duckdb")


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with TemporaryDirectory() as place:  # not pytest's, which only its owner may enter
        folder = Path(place)
        DuckDBStore(folder / "old.duckdb").close()
        (folder / "old.duckdb").chmod(0o444)
        folder.chmod(0o555)
        for name in ("new.duckdb", "old.duckdb"):
            with (
                without_root(),
                pytest.raises(StoreError, match=rf"{name} cannot be written .* may write to"),
            ):
                DuckDBStore(folder / name)
        folder.chmod(0o755)


@contextmanager
def without_root() -> Iterator[None]:
    """File permissions do not hold for root."""
    user, nobody = os.geteuid(), 65534
    os.seteuid(nobody if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_newer_schema_is_refused(store: DuckDBStore, path: Path) -> None:
    store.close()
    with duckdb.connect(path) as root:
        root.execute("UPDATE meta SET version = ?", [VERSION + 1])
    with pytest.raises(StoreError, match=rf"schema {VERSION + 1}; this one knows up to {VERSION}"):
        DuckDBStore(path)


def test_an_architecture_of_another_version_is_named(store: DuckDBStore, path: Path) -> None:
    store.close()
    with duckdb.connect(path) as root:
        root.execute(
            """UPDATE architecture SET json = replace(json, '"attention"', '"wormhole"')"""
        )
    with (
        closing(DuckDBStore(path)) as again,
        pytest.raises(StoreError, match=r"stored by another version .*layers\.0\.mixer.*wormhole"),
    ):
        again.architecture(architecture().id)


def test_a_second_process_is_told_who_holds_the_file(
    store: DuckDBStore, path: Path, writers: Writers
) -> None:
    said = writers.open(path)
    assert f"is held by process {os.getpid()}" in said
    assert "--server URL" in said
    path.with_name(path.name + ".server.json").write_text(
        json.dumps({"url": "http://127.0.0.1:8123", "pid": os.getpid()})
    )
    assert writers.open(path).endswith("add --server http://127.0.0.1:8123")
    run_trial(store, record(1))
    store.close()
    assert writers.open(path) == "opened"


# 4194305 is above the process ids that Linux gives.
@pytest.mark.parametrize(
    "note", ['{"url": "http://x", "pid": 4194305}', "{", "[]", "{}", '{"pid": "x"}']
)
def test_a_stale_note_of_a_server_is_not_believed(path: Path, note: str) -> None:
    path.with_name(path.name + ".server.json").write_text(note)
    assert opening.server(path) is None


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, writers: Writers) -> None:
    path = tmp_path / "nas.duckdb"
    writers.start(path, "s", limit=280_000)
    said = writers.read_rest()
    assert said[-1].startswith("refused")
    assert "could not be read or written" in said[-1]
    told = [line for line in said if line.startswith("told")]
    assert told
    with closing(DuckDBStore(path)) as store:
        assert store.study("s").proposals == len(told)


def test_users_can_read_results_with_sql(store: DuckDBStore, path: Path) -> None:
    failed = record(1, state="infeasible", reason="params 3e6 > 2e6")
    run_trial(store, failed, dim=128)
    store.close()
    with duckdb.connect(path, read_only=True) as root:
        found = root.execute(
            "SELECT number, metric, value, unit, dim, depth, mixers, ffns, params FROM result "
            "WHERE study = 's' ORDER BY metric"
        ).fetchall()
        rejected = root.execute("SELECT number, reason, dim FROM rejected").fetchall()
        seed = root.execute("SELECT spec->>'$.seed' FROM study").fetchall()
    layers = (["attention"] * 2, ["swiglu"] * 2)
    params = architecture().cost(context=256).params
    assert found == [
        (0, "loss", 1.5, "nats", 64, 2, *layers, params),
        (0, "params", 2.0, "nats", 64, 2, *layers, params),
    ]
    assert rejected == [(1, "params 3e6 > 2e6", 128)]
    assert seed == [("0",)]


def test_tables_are_written_as_parquet(store: DuckDBStore, tmp_path: Path) -> None:
    store.ask("s", proposal(1), architecture(128))
    store.finish(record(1, measurements=(measurement("loss", 0.1 + 0.2),)), {})
    files = store.export_parquet(tmp_path / "it's" / "tables")
    assert [file.stem for file in files] == list(TABLES)
    folder = str(tmp_path / "it''s" / "tables")
    with duckdb.connect() as root:
        counts = {
            table: root.execute(f"SELECT count(*) FROM '{folder}/{table}.parquet'").fetchone()
            for table in TABLES
        }
        values = root.execute(
            f"SELECT value FROM '{folder}/measurement.parquet' "
            "WHERE metric = 'loss' ORDER BY number"
        ).fetchall()
    expected = {"study": 1, "architecture": 2, "environment": 1, "log": 4, "trial": 2}
    expected |= {"measurement": 3, "curve": 3, "event": 2, "meta": 1}
    expected |= {"device": 0, "part_latency": 0, "model_latency": 0, "space_version": 0}
    expected |= {"spending": 0}
    assert counts == {table: (count,) for table, count in expected.items()}
    assert values == [(1.5,), (0.1 + 0.2,)]
    assert store.export_parquet(tmp_path / "it's" / "tables") == files
