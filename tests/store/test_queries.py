"""Pages of trials and the values for a front, in both stores."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from nas.store.base import Point, Store, TrialQuery
from tests.store.conftest import make
from tests.store.samples import architecture, record, run_trial

TRIALS = (
    record(0, {"loss": 3.0, "params": 10.0}, seconds=5.0),
    record(1, {"loss": 1.0, "params": 30.0}, seconds=1.0),
    record(2, {"params": 20.0}, state="infeasible", seconds=0.5),
    record(3, {"loss": 2.0}, seconds=2.0),
    record(4, {"loss": 1.0, "params": 30.0}, state="repeat", repeat_of=1, seconds=0.0),
    record(5, {"loss": 2.0, "params": 40.0, "latency": 7.0}, seconds=2.0),
    record(6, state="failed", seconds=9.0),
)


@pytest.fixture(scope="module")
def filled(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The trials above, finished in another order than that of their numbers; and another study.
    Only read here."""
    with closing(make(kind, tmp_path_factory.mktemp("queries"))) as store:
        for name in ("s", "other"):
            store.create_study(name, {}, None)
        for trial in reversed(TRIALS):
            run_trial(store, trial, dim=64 + 64 * (trial.number == 5))
        run_trial(store, record(0, {"loss": 0.5, "params": 1.0, "latency": 1.0}, study="other"))
        yield store


def numbers(store: Store, query: TrialQuery) -> list[int]:
    found, total = store.trials("s", query)
    assert total == len(found)
    return [trial.number for trial in found]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (TrialQuery(), [0, 1, 2, 3, 4, 5, 6]),
        (TrialQuery(descending=True), [6, 5, 4, 3, 2, 1, 0]),
        (TrialQuery(states=("complete",)), [0, 1, 3, 5]),
        (TrialQuery(states=("failed", "repeat")), [4, 6]),
        (TrialQuery(sort="seconds"), [4, 2, 1, 3, 5, 0, 6]),
        (TrialQuery(sort="seconds", descending=True), [6, 0, 3, 5, 1, 2, 4]),
        (TrialQuery(sort="started", descending=True), [6, 5, 4, 3, 2, 1, 0]),
        (TrialQuery(sort="loss"), [1, 4, 3, 5, 0, 2, 6]),
        (TrialQuery(sort="loss", descending=True), [0, 3, 5, 1, 4, 2, 6]),
        (TrialQuery(sort="nobody's"), [0, 1, 2, 3, 4, 5, 6]),
        (TrialQuery(limits=(("params", None, 20.0),)), [0, 2]),
        (TrialQuery(limits=(("params", 20.0, None),)), [1, 2, 4, 5]),
        (TrialQuery(limits=(("params", None, None),)), [0, 1, 2, 4, 5]),
        (TrialQuery(limits=(("params", 20.0, 30.0), ("loss", None, 1.5))), [1, 4]),
        (TrialQuery(limits=(("loss", 1.5, None), ("loss", None, 2.5))), [3, 5]),
        (TrialQuery(limits=(("nobody's", None, None),)), []),
        (
            TrialQuery(
                states=("complete",),
                limits=(("params", None, 40.0),),
                sort="loss",
                descending=True,
            ),
            [0, 5, 1],
        ),
    ],
)
def test_a_query_selects_and_sorts(filled: Store, query: TrialQuery, expected: list[int]) -> None:
    assert numbers(filled, query) == expected


@pytest.mark.parametrize("offset", [0, 2, 5, 6, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 3, 100, None])
def test_pages_are_slices_and_know_the_total(filled: Store, offset: int, count: int | None) -> None:
    query = TrialQuery(sort="loss", limits=(("params", None, 35.0),))
    whole, _ = filled.trials("s", query)
    page, total = filled.trials("s", replace(query, offset=offset, count=count))
    assert total == 4
    assert page == whole[offset : None if count is None else offset + count]


def test_a_page_holds_whole_records(filled: Store) -> None:
    found, _ = filled.trials("s", TrialQuery(sort="seconds", offset=1, count=3))
    assert found == [filled.trial("s", trial.number) for trial in found]
    assert [len(trial.measurements) for trial in found] == [1, 2, 1]


def test_front_values_are_of_complete_trials_that_have_them_all(filled: Store) -> None:
    small, large = architecture(64).id, architecture(128).id
    assert filled.front_values("s", ["loss", "params"]) == [
        Point(0, small, (3.0, 10.0)),
        Point(1, small, (1.0, 30.0)),
        Point(5, large, (2.0, 40.0)),
    ]
    assert filled.front_values("s", ["params", "loss", "params"])[2].values == (40.0, 2.0, 40.0)
    assert [point.number for point in filled.front_values("s", ["loss"])] == [0, 1, 3, 5]
    assert [point.values for point in filled.front_values("s", ["latency"])] == [(7.0,)]
    assert filled.front_values("s", ["nobody's"]) == []
    assert [point.values for point in filled.front_values("s", [])] == [()] * 4


def test_values_are_never_read_as_sql(filled: Store) -> None:
    name = "loss'; DROP TABLE trial; --"
    assert numbers(filled, TrialQuery(sort=name)) == list(range(7))
    assert numbers(filled, TrialQuery(limits=((name, 0.0, 1.0),))) == []
    assert filled.front_values("s", [name]) == []
    assert filled.study("s").proposals == 7
