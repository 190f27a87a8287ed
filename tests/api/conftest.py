from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nas.client import Client
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    found = Client(server.url)
    yield found
    found.close()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as found:
        yield found


@pytest.fixture
def home(server: Server) -> Path:
    return server.home
