"""Comparison, doubt and spending over real HTTP."""

import httpx
import pytest

from nas.client import Client
from nas.errors import BadInput, Conflict, NotFound
from tests.support.fake import small_study


def test_two_studies_are_compared_over_http(client: Client, http: httpx.Client) -> None:
    for name, seed in (("left", 0), ("right", 1)):
        client.create_study(small_study(name, trials=4, seed=seed))
        list(client.events(name, follow=True))
    found = client.compare("left", "right")
    assert (found.first.study, found.second.study) == ("left", "right")
    assert {cut.resource for cut in found.cuts} == {
        "train_tokens",
        "train_flops",
        "trials",
        "seconds",
    }
    assert {difference.path for difference in found.differs} == {"seed"}
    assert http.get("/studies/left/comparisons/right").json() == found.model_dump(mode="json")
    assert len(client.compare("left", "right", metrics=["params"]).metrics) == 1
    with pytest.raises(BadInput, match=r"text\.loss"):
        client.compare("left", "right", metrics=["lost"])
    with pytest.raises(NotFound, match="nobody"):
        client.compare("left", "nobody")
    client.create_study(small_study("third", trials=1, objectives=[{"metric": "params"}]))
    list(client.events("third", follow=True))
    with pytest.raises(Conflict, match="objectives differ"):
        client.compare("left", "third")


def test_what_was_spent_and_how_sure_the_front_is_over_http(client: Client) -> None:
    budget = {"total_train_tokens": 10 * 1024, "train_tokens": 1000}
    confirm = {"seeds": 1, "candidates": 2}
    client.create_study(small_study("tokens", budget=budget, confirm=confirm))
    list(client.events("tokens", follow=True))
    study = client.study("tokens")
    assert (study.state, study.budget_trials) == ("complete", None)
    assert study.train_tokens == study.budget_train_tokens == 10 * 1024
    assert study.share == 1.0
    assert study.train_flops > 0
    assert client.trial("tokens", 0).train_tokens % 1024 == 0
    front = client.front("tokens")
    assert front.doubt is None
    assert all(point.probability is not None for point in front.points)
