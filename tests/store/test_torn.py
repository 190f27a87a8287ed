"""A checkpoint that is cut short in the middle of a block that it writes in place."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from nas.errors import StoreError
from nas.store import doublewrite, duckdb, opening
from nas.store.base import TrialQuery
from nas.store.duckdb import DuckDBStore
from tests.store.samples import record, run_trial
from tests.store.writer import ROOT

PAGE = 4096
FIRST = doublewrite.HEADERS
"""Where the first block is: that of the metadata."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nas.duckdb"


@pytest.fixture
def torn(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of two trials, one of them in the log; its first block is half old, half new."""
    with closing(DuckDBStore(path)) as store:
        store.create_study("s", {"seed": 0}, None)
        run_trial(store, record(0))
    store = DuckDBStore(path)
    run_trial(store, record(1))
    old, log = path.read_bytes(), opening.wal(path).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(doublewrite, "drop", lambda database: None)
        store.close()
    new = path.read_bytes()
    assert new[:FIRST] != old[:FIRST]
    path.write_bytes(old[:FIRST] + new[FIRST : FIRST + PAGE] + old[FIRST + PAGE :])
    opening.wal(path).write_bytes(log)
    return path


def test_a_block_that_was_half_written_is_put_back_and_nothing_is_lost(torn: Path) -> None:
    with closing(DuckDBStore(torn)) as store:
        assert store.trials("s", TrialQuery())[1] == 2
        assert len(store.log("s")) == 4
        assert not doublewrite.place(torn).exists()
        run_trial(store, record(2))
    with closing(DuckDBStore(torn)) as store:
        assert store.trials("s", TrialQuery())[1] == 3
    assert list(torn.parent.iterdir()) == [torn]


def test_without_the_copy_the_file_is_refused_and_left_as_it_is(torn: Path) -> None:
    doublewrite.place(torn).unlink()
    check_refused(torn)


def test_a_copy_that_is_damaged_itself_is_not_put_back(torn: Path) -> None:
    copy = doublewrite.place(torn)
    copy.write_bytes(copy.read_bytes()[:-1])
    check_refused(torn)
    copy.write_bytes(b"{}")
    check_refused(torn)


def check_refused(path: Path) -> None:
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StoreError, match=rf"{path.name} is damaged .*{path.name}\.wal") as failed:
        DuckDBStore(path)
    assert "nothing was changed" in failed.value.message
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_the_copy_of_a_completed_checkpoint_is_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DuckDBStore(path)
    store.create_study("s", {"seed": 0}, None)
    with monkeypatch.context() as patched:
        patched.setattr(doublewrite, "drop", lambda database: None)
        store.close()
    written = path.read_bytes()
    assert doublewrite.place(path).exists()
    doublewrite.restore(path)
    assert not doublewrite.place(path).exists()
    assert path.read_bytes() == written


def test_nothing_is_put_back_while_the_file_is_open(path: Path) -> None:
    with closing(DuckDBStore(path)) as store:
        doublewrite.keep(path, [0], 2**18)
        store.create_study("s", {"seed": 0}, None)
        doublewrite.restore(path)
        assert doublewrite.place(path).exists()
        assert restore_elsewhere(path) == "there True"  # and the lock was not released
    assert restore_elsewhere(path) == "there False"


def restore_elsewhere(path: Path) -> str:
    """Whether another process, which puts back what it may, leaves the copy there."""
    code = (
        "import sys; from pathlib import Path; from nas.store import doublewrite\n"
        "path = Path(sys.argv[1]); doublewrite.restore(path)\n"
        "print('there', doublewrite.place(path).exists())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_log_that_has_grown_is_written_into_the_file_while_others_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb, "CHECKPOINT_BYTES", 1)
    kept: list[int] = []
    monkeypatch.setattr(
        doublewrite, "keep", lambda *given, keep=doublewrite.keep: kept.append(1) or keep(*given)
    )
    with closing(DuckDBStore(path)) as store, ThreadPoolExecutor(1) as pool:
        store.create_study("s", {"seed": 0}, None)
        assert opening.log_bytes(path) == 0
        reading = pool.submit(lambda: [store.trials("s", TrialQuery())[1] for _ in range(50)])
        for number in range(5):
            run_trial(store, record(number))
        assert sorted(reading.result()) == reading.result()
        assert opening.log_bytes(path) == 0
    assert len(kept) == 1 + 5 * 2
    with closing(DuckDBStore(path)) as store:
        assert store.trials("s", TrialQuery())[1] == 5


def test_what_no_copy_can_be_made_of_stays_in_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(DuckDBStore(path)) as store:
        store.create_study("s", {"seed": 0}, None)
        doublewrite.place(path).mkdir()
        monkeypatch.setattr(duckdb, "CHECKPOINT_BYTES", 1)
        with pytest.raises(StoreError, match=r"all is written to the log of .*Is a directory"):
            store.add_event("s", "note", {})
    assert opening.log_bytes(path) > 0
    os.rmdir(doublewrite.place(path))
    with closing(DuckDBStore(path)) as store:
        assert len(store.events("s")) == 1
