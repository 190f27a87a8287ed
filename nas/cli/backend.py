"""Which service a command talks to: a server, or the database in this process."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from nas.settings import Settings
from nas.verbs import Verbs


@contextmanager
def backend(server: str | None) -> Iterator[Verbs]:
    """A server where one is named (``--server``, NAS_SERVER) or holds the database; otherwise the
    database in this process."""
    settings = Settings()
    url = server or settings.server or running_server(settings)
    verbs = _client(url, settings) if url else _service(settings)
    try:
        yield verbs
    finally:
        verbs.close()


@contextmanager
def stateless(server: str | None) -> Iterator[Verbs]:
    """For verbs that need no database."""
    settings = Settings()
    url = server or settings.server
    if url:
        verbs = _client(url, settings)
    else:
        from nas.service import Service
        from nas.store.memory import MemoryStore

        verbs = Service(MemoryStore(), settings)
    try:
        yield verbs
    finally:
        verbs.close()


def running_server(settings: Settings) -> str | None:
    """The address of the server that holds this database, if there is one and it lives."""
    try:
        found = json.loads(settings.address_file.read_text())
        os.kill(int(found["pid"]), 0)
        return str(found["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _client(url: str, settings: Settings) -> Verbs:
    from nas.client import Client

    token = settings.token.get_secret_value() if settings.token else None
    return Client(url, token=token)


def _service(settings: Settings) -> Verbs:
    from nas.service import Service
    from nas.store.duckdb import DuckDBStore

    return Service(DuckDBStore(settings.database_path), settings)
