"""``driver: auto`` over real HTTP: what was chosen, and why, is there to read."""

import httpx

from nas.client import Client
from nas.store.base import TrialQuery
from tests.support.fake import small_study


def test_the_chosen_driver_and_its_reason_are_stored_shown_and_noted(
    client: Client, http: httpx.Client
) -> None:
    made = client.create_study(small_study("chosen", trials=3, driver="auto"))
    assert (made.driver.library, made.driver.sampler) == ("optuna", "qmc")
    assert made.driver.chosen_because is not None
    notes = [e.data["text"] for e in client.events("chosen", follow=True) if e.kind == "note"]
    assert notes == [f"proposed by optuna.qmc, chosen because {made.driver.chosen_because}"]
    shown = http.get("/studies/chosen").json()
    assert shown["driver"] == shown["spec"]["driver"] == made.driver.model_dump(mode="json")
    assert {trial.proposer for trial in client.trials("chosen", TrialQuery()).trials} == {
        "optuna.qmc"
    }


def test_a_named_driver_is_shown_without_a_reason(client: Client) -> None:
    made = client.create_study(small_study("named", trials=2, driver={"library": "uniform"}))
    assert made.driver.chosen_because is None
    assert [e for e in client.events("named", follow=True) if e.kind == "note"] == []
