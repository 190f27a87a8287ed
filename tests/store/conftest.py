"""Both stores, each of them empty."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nas.store.base import Store
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from tests.store.writer import Writers


def make(kind: str, folder: Path) -> Store:
    return MemoryStore() if kind == "memory" else DuckDBStore(folder / "nas.duckdb")


@pytest.fixture(scope="session")
def writers() -> Iterator[Writers]:
    """Other processes; the one that forks them is started once."""
    with closing(Writers()) as started:
        yield started


@pytest.fixture(params=["memory", "duckdb"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(kind: str, tmp_path: Path) -> Iterator[Store]:
    with closing(make(kind, tmp_path)) as store:
        yield store


@pytest.fixture
def store(empty: Store) -> Store:
    """With one study, ``s``, that has no trials."""
    empty.create_study("s", {"seed": 0}, None)
    return empty
