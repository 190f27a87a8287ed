"""Changed spaces and replay over real HTTP."""

from pathlib import Path

import httpx
import pytest

from nas.client import Client
from nas.errors import BadInput, Conflict, NotFound
from tests.support.fake import small_study
from tests.support.problems import TINY
from tests.support.server import Server

SPACE = {**TINY, "vocab": 256, "dim": 16}


def test_a_space_changes_over_http(client: Client, http: httpx.Client) -> None:
    client.create_study(small_study("changing", trials=60, space=SPACE))
    list(client.events("changing", follow=True))
    ended = client.study("changing")
    assert (ended.state, ended.space_version) == ("exhausted", 1)
    with pytest.raises(BadInput, match=r"space\.dim"):
        client.change_space("changing", {**SPACE, "dim": "wide"})
    with pytest.raises(NotFound, match="unchanging"):
        client.change_space("unchanging", SPACE)
    wider = {**SPACE, "dim": {"choice": [16, 32]}}
    version = client.change_space("changing", wider)
    assert (version.version, version.translated, version.invalid) == (2, ended.proposals, ())
    assert version.changes.added == ("dim",)
    assert client.space_versions("changing")[1] == version
    answer = http.get("/studies/changing/space/versions").json()
    assert answer[1] == version.model_dump(mode="json")
    assert client.study("changing").state == "stopped"
    client.resume_study("changing")
    list(client.events("changing", follow=True))
    view = client.study("changing")
    assert view.space_version == 2
    assert view.trials > ended.trials
    found = client.replay("changing")
    assert (found.identical, found.first_difference) == (found.own, None)
    assert found.proposals == view.proposals


def test_a_spent_study_keeps_its_space(client: Client, http: httpx.Client) -> None:
    client.create_study(small_study("spent", trials=2))
    list(client.events("spent", follow=True))
    with pytest.raises(Conflict, match="all 2 trials are evaluated"):
        client.change_space("spent", SPACE)
    assert http.put("/studies/spent/space", json=SPACE).status_code == 409


def test_versions_outlive_the_server(tmp_path: Path) -> None:
    first = Server(tmp_path)
    client = Client(first.url)
    client.create_study(small_study("kept", trials=60, space=SPACE))
    list(client.events("kept", follow=True))
    client.change_space("kept", {**SPACE, "dim": {"choice": [16, 32]}})
    before = client.space_versions("kept")
    first.kill()
    second = Server(tmp_path)
    try:
        again = Client(second.url)
        assert again.space_versions("kept") == before
        again.resume_study("kept")
        list(again.events("kept", follow=True))
        assert again.replay("kept").first_difference is None
    finally:
        second.close()
