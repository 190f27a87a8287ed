"""The report on a search over real HTTP, and the control arm that a new study gets."""

import httpx
import pytest

from nas.client import Client
from nas.errors import NotFound
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
