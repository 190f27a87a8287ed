"""Times of parts and models are kept for every study, in both stores alike."""

from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from nas.errors import NotFound
from nas.evaluators.composed.device import device_key
from nas.evaluators.composed.records import ModelLatency, PartLatency, Setting
from nas.store import latency_rows
from nas.store.base import Store, TrialQuery
from nas.store.duckdb import TABLES, DuckDBStore
from tests.store.samples import measurement, record, run_trial

AT = datetime(2025, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def setting(**changes: Any) -> Setting:
    given = {
        "device": "d0",
        "metric": "decode.latency_ms",
        "context": 256,
        "batch": 1,
        "dtype": "float32",
        "threads": 1,
        "impl": "chunked",
        "torch": "2.13.0",
        "nas": "0.1.0",
        "anchor": "a0",
    }
    return Setting.model_validate({**given, **changes})


def times(ms: float = 2.0, **changes: Any) -> dict[str, Any]:
    spread = {"low": ms * 0.9, "high": ms * 1.1, "anchor_ms": 4.0, "repeats": 7, "at": AT}
    return {"setting": setting(), "ms": ms, **spread, **changes}


def part(id: str, **changes: Any) -> PartLatency:
    return PartLatency(part=id, name=f"the part {id}", **times(**changes))


def model(id: str, **changes: Any) -> ModelLatency:
    return ModelLatency(architecture=id, parts={"stem": 1, "b": 3, "a": 2}, **times(**changes))


def test_parts_and_models_come_back_as_they_were(empty: Store) -> None:
    parts = [part("p1", environment="e"), part("p2", ms=3.0)]
    models = [model("m1"), model("m2", environment="e")]
    empty.put_part_latencies(parts[::-1])
    empty.put_model_latencies(models[::-1])
    assert empty.part_latencies(setting()) == parts
    assert empty.model_latencies(setting()) == models
    assert list(empty.model_latencies(setting())[0].parts) == ["stem", "b", "a"]


def test_a_new_time_takes_the_place_of_the_old_one(empty: Store) -> None:
    empty.put_part_latencies([part("p"), part("q")])
    empty.put_part_latencies([part("p", ms=5.0)])
    empty.put_model_latencies([model("m")])
    empty.put_model_latencies([model("m", ms=5.0)])
    assert [row.ms for row in empty.part_latencies(setting())] == [5.0, 2.0]
    assert [row.ms for row in empty.model_latencies(setting())] == [5.0]


OTHERS = {
    "device": "d1",
    "metric": "prefill.latency_ms",
    "context": 128,
    "batch": 2,
    "dtype": "bfloat16",
    "threads": 2,
    "impl": "triton",
    "clock": "processor",
    "torch": "2.14.0",
    "nas": "0.2.0",
    "anchor": "a1",
}


@pytest.mark.parametrize("field", list(Setting.model_fields))
def test_times_of_another_setting_are_other_times(empty: Store, field: str) -> None:
    other = setting(**{field: OTHERS[field]})
    empty.put_part_latencies([part("p"), part("p", ms=9.0, setting=other)])
    empty.put_model_latencies([model("m"), model("m", ms=9.0, setting=other)])
    for read in (empty.part_latencies, empty.model_latencies):
        assert [row.ms for row in read(setting())] == [2.0]
        assert [row.ms for row in read(other)] == [9.0]


def test_times_are_kept_in_utc(empty: Store) -> None:
    there = AT.astimezone(timezone(timedelta(hours=5)))
    empty.put_part_latencies([part("p", at=there)])
    (found,) = empty.part_latencies(setting())
    assert found.at == AT
    assert found.at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("wrong", [{"ms": 0.0}, {"anchor_ms": 0.0}])
def test_a_time_that_nothing_can_be_composed_of_is_refused(
    empty: Store, wrong: dict[str, float]
) -> None:
    for put, made in ((empty.put_part_latencies, part), (empty.put_model_latencies, model)):
        with pytest.raises(ValueError, match="not a positive time"):
            put([made("x", **wrong)])
    assert empty.part_latencies(setting()) == []


def test_a_device_is_kept_under_the_hash_of_what_it_is(empty: Store) -> None:
    record = {"kind": "cpu", "processor": "Größe 1", "cores": 2}
    assert empty.put_device(record) == empty.put_device(dict(reversed(record.items())))
    assert empty.put_device(record) == device_key(record)
    assert empty.device(device_key(record)) == record
    with pytest.raises(NotFound, match="there is no device 'x'; there are: "):
        empty.device("x")


def test_latencies_outlive_the_study_that_took_them(store: Store) -> None:
    shared, own = (store.put_environment({"machine": name}) for name in ("shared", "own"))
    run_trial(store, record(0, {"loss": 1.0}, environment=shared))
    run_trial(store, record(1, {"loss": 1.0}, environment=own))
    store.put_part_latencies([part("p", environment=shared)])
    store.delete_study("s")
    assert store.part_latencies(setting()) == [part("p", environment=shared)]
    assert store.environment(shared) == {"machine": "shared"}
    with pytest.raises(NotFound):
        store.environment(own)


def test_a_database_from_before_latencies_were_kept_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with closing(DuckDBStore(path)) as made:
        made.create_study("s", {"seed": 0}, None)
        run_trial(made, record(0, {"loss": 1.5}))
    with duckdb.connect(path) as root:
        for table in (*latency_rows.TABLES, "spending"):
            root.execute(f"DROP TABLE {table}")
    for _ in range(2):
        with closing(DuckDBStore(path)) as store:
            assert store.spendings("s") == []
            store.put_part_latencies([part("p")])
            assert store.part_latencies(setting()) == [part("p")]
            assert store.trials("s", TrialQuery())[0][0].measurements == (measurement("loss", 1.5),)
    with duckdb.connect(path) as root:
        tables = {
            row[0] for row in root.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        }
    assert tables == set(TABLES)


def test_latencies_are_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "nas.duckdb"
    with closing(DuckDBStore(path)) as store:
        store.put_part_latencies([part("p")])
        store.put_model_latencies([model("m")])
    with closing(DuckDBStore(path)) as again:
        assert again.part_latencies(setting()) == [part("p")]
        assert again.model_latencies(setting()) == [model("m")]
