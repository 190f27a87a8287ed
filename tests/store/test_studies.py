"""What both stores promise about studies, their events and their end."""

import math
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import pytest

from nas.errors import Conflict, NotFound
from nas.record import Event, StudyRecord
from nas.store.base import Store, TrialQuery
from tests.store.samples import CURVES, architecture, proposal, record, run_trial

SPEC = {
    "name": "größe-日本",
    "space": {"dims": [64, 128], "ratio": 0.1},
    "limits": [],
    "seed": None,
}


def test_a_new_study_is_running_and_keeps_its_spec(empty: Store) -> None:
    made = empty.create_study("s", SPEC, "key")
    assert made.state == "running"
    assert made.spec == SPEC
    assert (made.trials, made.proposals, made.seconds, made.reason) == (0, 0, 0.0, None)
    assert made.created.tzinfo is not None
    assert made.created.utcoffset() == timedelta(0)
    assert empty.study("s") == made
    assert StudyRecord.model_validate_json(made.model_dump_json()) == made


def test_a_spec_is_kept_by_value(empty: Store) -> None:
    spec: dict[str, Any] = {"space": {"dims": [64]}}
    shown = empty.create_study("s", spec, None)
    spec["space"]["dims"].append(128)
    shown.spec["space"]["dims"].append(256)
    assert empty.study("s").spec == {"space": {"dims": [64]}}


def test_the_same_key_and_spec_return_the_study_that_exists(empty: Store) -> None:
    empty.create_study("s", {"seed": 0, "trials": 3}, "key")
    empty.set_state("s", "stopped", "asked to")
    again = empty.create_study("s", {"trials": 3, "seed": 0}, "key")
    assert again.state == "stopped"
    assert len(empty.studies()) == 1


@pytest.mark.parametrize(("name", "spec"), [("s", {"seed": 1}), ("other", {"seed": 0})])
def test_a_key_used_for_something_else_is_a_conflict(
    store: Store, name: str, spec: dict[str, Any]
) -> None:
    store.delete_study("s")
    store.create_study("s", {"seed": 0}, "key")
    with pytest.raises(Conflict, match="'key' was used to create study 's'"):
        store.create_study(name, spec, "key")
    assert [study.name for study in store.studies()] == ["s"]


@pytest.mark.parametrize("key", [None, "new key"])
def test_a_name_taken_is_a_conflict(store: Store, key: str | None) -> None:
    with pytest.raises(Conflict, match="'s' exists already"):
        store.create_study("s", {"seed": 0}, key)


def test_a_spec_that_json_cannot_hold_is_refused(empty: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        empty.create_study("s", {"loss": math.nan}, None)
    assert empty.studies() == []


def test_studies_are_listed_newest_first(empty: Store) -> None:
    for name in ("b", "a", "c"):
        empty.create_study(name, {}, None)
    assert [study.name for study in empty.studies()] == ["c", "a", "b"]


def test_a_study_counts_its_trials_by_what_they_cost(store: Store) -> None:
    for number, state in enumerate(("complete", "failed", "infeasible", "repeat", "complete")):
        run_trial(store, record(number, state=state))
    store.ask("s", proposal(5), architecture())
    assert (store.study("s").trials, store.study("s").proposals) == (3, 5)
    assert [(study.trials, study.proposals) for study in store.studies()] == [(3, 5)]


def test_seconds_add_up(store: Store) -> None:
    store.add_seconds("s", 1.5)
    store.add_seconds("s", 2.25)
    assert store.study("s").seconds == 3.75


def test_a_new_state_is_kept_and_told(store: Store) -> None:
    store.set_state("s", "failed", "the corpus is gone")
    store.set_state("s", "running")
    assert (store.study("s").state, store.study("s").reason) == ("running", None)
    assert [(event.kind, event.data) for event in store.events("s")] == [
        ("state", {"state": "failed", "reason": "the corpus is gone"}),
        ("state", {"state": "running", "reason": None}),
    ]


def test_events_are_numbered_in_each_study(store: Store) -> None:
    store.create_study("t", {}, None)
    first = store.add_event("s", "note", {"text": "é ✓ \x00 'quoted'", "n": 1})
    store.add_event("t", "note", {})
    second = store.add_event("s", "progress", {"best": [1.5, None], "at": {"x": True}})
    assert (first.sequence, second.sequence) == (0, 1)
    assert store.events("s") == [first, second]
    assert store.events("s", after=0) == [second]
    assert store.events("s", after=1) == []
    assert first.at.tzinfo is UTC
    assert first.at <= second.at
    assert Event.model_validate_json(first.model_dump_json()) == first


def test_numbers_that_json_cannot_hold_are_none_in_events(store: Store) -> None:
    told = store.add_event("s", "progress", {"loss": math.nan, "best": [math.inf, 1.0]})
    assert told.data == {"loss": None, "best": [None, 1.0]}
    assert store.events("s") == [told]


def test_environments_are_kept_once_by_content(store: Store) -> None:
    one = store.put_environment({"torch": "2.13", "threads": 1})
    assert store.put_environment({"threads": 1, "torch": "2.13"}) == one
    assert store.put_environment({"threads": 2, "torch": "2.13"}) != one
    assert store.environment(one) == {"torch": "2.13", "threads": 1}


def test_deleting_a_study_keeps_what_another_one_shares(store: Store) -> None:
    store.create_study("t", {}, None)
    shared = store.put_environment({"torch": "2.13"})
    alone = store.put_environment({"torch": "2.12"})
    run_trial(store, record(0, {"loss": 1.0}, environment=shared), dim=64)
    run_trial(store, record(1, {"loss": 2.0}, environment=alone), dim=128)
    store.ask("s", proposal(2), architecture(192))
    kept = run_trial(store, record(0, {"loss": 3.0}, study="t", environment=shared), dim=64)
    store.add_event("t", "note", {})

    store.delete_study("s")

    assert [study.name for study in store.studies()] == ["t"]
    assert store.trial("t", 0) == kept
    assert store.curves("t", 0) == CURVES
    assert len(store.log("t")) == 2
    assert [event.kind for event in store.events("t")] == ["trial", "note"]
    assert store.architecture(architecture(64).id) == architecture(64)
    assert store.environment(shared) == {"torch": "2.13"}
    for gone in (architecture(128), architecture(192)):
        with pytest.raises(NotFound):
            store.architecture(gone.id)
    with pytest.raises(NotFound):
        store.environment(alone)


def test_a_deleted_study_leaves_its_name_and_key_free(empty: Store) -> None:
    empty.create_study("s", {"seed": 0}, "key")
    run_trial(empty, record(0, {"loss": 1.0}))
    empty.delete_study("s")
    empty.create_study("s", {"seed": 1}, "key")
    assert empty.trials("s", TrialQuery()) == ([], 0)
    assert empty.front_values("s", ["loss"]) == []
    assert empty.log("s") == []
    assert empty.events("s") == []
    run_trial(empty, record(0, {"loss": 2.0}))
    assert empty.trial("s", 0).value("loss") == 2.0
    assert empty.curves("s", 0) == CURVES


def test_a_trial_brings_back_an_environment_whose_last_study_was_deleted(store: Store) -> None:
    id = store.put_environment({"torch": "2.13"})  # noqa: A001
    run_trial(store, record(0, environment=id))
    store.create_study("t", {}, None)
    store.ask("t", proposal(0), architecture())
    store.put_environment({"torch": "2.13"})
    store.delete_study("s")
    store.finish(record(0, study="t", environment=id), {})
    assert store.environment(id) == {"torch": "2.13"}


ON_A_STUDY: dict[str, Callable[[Store, str], object]] = {
    "study": lambda store, name: store.study(name),
    "set_state": lambda store, name: store.set_state(name, "stopped"),
    "add_seconds": lambda store, name: store.add_seconds(name, 1.0),
    "delete_study": lambda store, name: store.delete_study(name),
    "ask": lambda store, name: store.ask(name, proposal(0), architecture()),
    "finish": lambda store, name: store.finish(record(0, study=name), {}),
    "log": lambda store, name: store.log(name),
    "trials": lambda store, name: store.trials(name, TrialQuery()),
    "trial": lambda store, name: store.trial(name, 0),
    "front_values": lambda store, name: store.front_values(name, ["loss"]),
    "curves": lambda store, name: store.curves(name, 0),
    "forget_weights": lambda store, name: store.forget_weights(name, [0]),
    "add_event": lambda store, name: store.add_event(name, "note", {}),
    "events": lambda store, name: store.events(name),
}


@pytest.mark.parametrize("method", ON_A_STUDY)
def test_a_study_that_is_not_there_is_named_with_near_matches(store: Store, method: str) -> None:
    store.create_study("quickstart", {}, None)
    with pytest.raises(NotFound, match=r"'quikstart'; did you mean 'quickstart'\?"):
        ON_A_STUDY[method](store, "quikstart")
    with pytest.raises(NotFound, match="there are: s, quickstart"):
        ON_A_STUDY[method](store, "zzz")


def test_an_empty_store_says_so(empty: Store) -> None:
    with pytest.raises(NotFound, match="no study is stored"):
        empty.study("s")
    with pytest.raises(NotFound, match="no architecture is stored"):
        empty.architecture("abc")
    with pytest.raises(NotFound, match="no environment is stored"):
        empty.environment("abc")
