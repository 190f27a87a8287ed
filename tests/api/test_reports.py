"""The report on a search over real HTTP, and the control arm that a new study gets."""

import httpx
import pytest

from nas.client import Client
from nas.errors import BadInput, NotFound
from tests.support.fake import small_study


def test_the_report_of_a_study_over_http(client: Client, http: httpx.Client) -> None:
    posted = client.create_study(small_study("reported", trials=20))
    assert posted.spec["control_arm"] == 0.1
    list(client.events("reported", follow=True))
    report = client.report("reported")
    assert report.evaluated == 20
    arms = {arm.proposer: arm.evaluated for arm in report.arms}
    assert arms == {"optuna.nsga2": 18, "control.random": 1, "control.params": 1}
    assert {each.verdict for each in report.comparisons} == {"too few to say"}
    assert http.get("/studies/reported/report").json() == report.model_dump(mode="json")
    with pytest.raises(NotFound, match="unreported"):
        client.report("unreported")


def test_a_study_posted_again_is_the_same_study(client: Client) -> None:
    study = small_study("posted-twice", trials=20)
    first = client.create_study(study, key="a-key")
    assert client.create_study(study, key="a-key").created == first.created


def test_a_study_starts_from_another_over_http(client: Client) -> None:
    client.create_study(small_study("elder", trials=5))
    list(client.events("elder", follow=True))
    first = [{"study": "elder", "front": True}]
    heir = small_study("younger", trials=6, first=first, warm_start=[{"study": "elder"}])
    assert client.create_study(heir).spec["first"][0]["found"]
    events = list(client.events("younger", follow=True))
    (known,) = [event.data for event in events if event.kind == "known"]
    assert known["study"] == "elder"
    assert len(known["observations"]) == known["trials"] > 0
    shown = client.report("younger").first
    assert all(each.in_space and each.state == "complete" for each in shown)
    with pytest.raises(BadInput, match="eldest"):
        client.create_study({**heir, "name": "youngest", "warm_start": [{"study": "eldest"}]})
