"""Trials that were stopped at a rung and go on."""

from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from nas.errors import Conflict, NotFound
from nas.evaluators.base import CurvePoint
from nas.store.base import Asked, Store, Told, TrialQuery
from nas.store.duckdb import VERSION, DuckDBStore
from tests.store.samples import CURVES, architecture, measurement, proposal, record, run_trial

AT_RUNG = Told(0, 0, (1.5, None), passes=True)
LATER = {"text": (CurvePoint(0, 0, 5.5), CurvePoint(20, 1280, 2.0))}


def stopped(**changes):
    return record(0, {"loss@1": 1.5}, **{"state": "stopped", "rung": "train@1", **changes})


def stop(store: Store, **changes) -> None:
    store.ask("s", proposal(0), architecture())
    store.finish(stopped(**changes), CURVES, AT_RUNG)


def test_a_stopped_trial_is_there_with_its_rung(store: Store) -> None:
    stop(store)
    found, total = store.trials("s", TrialQuery(states=("stopped",)))
    assert (found, total) == ([stopped()], 1)
    assert store.front_values("s", ["loss@1"]) == []
    assert store.study("s").trials == 1


def test_a_trial_that_goes_on_takes_the_place_of_its_record(store: Store) -> None:
    stop(store, environment=(first := store.put_environment({"stage": 1})))
    second = store.put_environment({"stage": 2})
    done = record(0, {"loss@1": 1.5, "loss": 1.0}, environment=second, seconds=9.0)
    store.advance(done, LATER)
    assert store.trial("s", 0) == done
    assert store.trials("s", TrialQuery())[1] == 1
    assert [point.values for point in store.front_values("s", ["loss"])] == [(1.0,)]
    curves = store.curves("s", 0)
    assert curves == {"text": LATER["text"], "recall": CURVES["recall"]}
    assert store.environment(second) == {"stage": 2}
    with pytest.raises(NotFound):
        store.environment(first)
    states = [e.data["state"] for e in store.events("s") if e.kind == "trial"]
    assert states == ["stopped", "complete"]


def test_an_environment_that_another_trial_names_stays(store: Store) -> None:
    shared = store.put_environment({"machine": 1})
    stop(store, environment=shared)
    run_trial(store, record(1, environment=shared))
    store.advance(record(0), {})
    assert store.environment(shared) == {"machine": 1}


def test_the_log_tells_each_rung_and_the_end_in_order(store: Store) -> None:
    stop(store)
    store.ask("s", proposal(1), architecture(128))
    again = Told(0, 1, (1.25, 2.0))
    store.advance(stopped(rung="train@2"), {}, again)
    store.advance(record(0, {"loss": 1.0}), {})
    log = store.log("s")
    assert [type(entry) for entry in log] == [Asked, Told, Asked, Told, Told]
    assert [entry for entry in log if isinstance(entry, Told)] == [AT_RUNG, again, Told(0)]


def test_only_a_stopped_trial_can_go_on(store: Store) -> None:
    with pytest.raises(NotFound, match="no trial 0: none has finished yet"):
        store.advance(record(0), {})
    run_trial(store, record(0, {"loss": 1.0}))
    with pytest.raises(Conflict, match="trial 0 of study 's' is complete; only one that was stop"):
        store.advance(record(0, {"loss": 2.0}), {})
    assert store.trial("s", 0).value("loss") == 1.0
    assert len(store.log("s")) == 2


def test_what_is_refused_changes_nothing(store: Store) -> None:
    stop(store)
    twice = record(0, measurements=(measurement("loss", 1.0), measurement("loss", 2.0)))
    with pytest.raises(ValueError, match="not one finite value each"):
        store.advance(twice, {})
    assert store.trial("s", 0) == stopped()


def test_a_database_from_before_trials_were_stopped_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with closing(DuckDBStore(path)) as made:
        made.create_study("s", {"seed": 0}, None)
        before = run_trial(made, record(0, {"loss": 1.5}))
    with duckdb.connect(path) as root:
        root.execute("ALTER TABLE trial DROP COLUMN rung")
        root.execute("ALTER TABLE log DROP COLUMN told")
        root.execute("UPDATE meta SET version = 1")
    for _ in range(2):
        with closing(DuckDBStore(path)) as store:
            assert store.trial("s", 0) == before
            assert [type(entry) for entry in store.log("s")] == [Asked, Told]
    with closing(DuckDBStore(path)) as store:
        store.ask("s", proposal(1), architecture())
        store.finish(record(1, state="stopped", rung="train@1"), {}, Told(1, 0, (1.0,)))
        store.advance(record(1, {"loss": 1.0}), {})
    with closing(DuckDBStore(path)) as store:
        assert store.trial("s", 1).value("loss") == 1.0
        assert store.log("s")[-2:] == [Told(1, 0, (1.0,)), Told(1)]
    with duckdb.connect(path) as root:
        assert root.execute("SELECT version FROM meta").fetchall() == [(VERSION,)]
        assert root.execute("SELECT count(*) FROM result").fetchall() == [(2,)]
