"""Both stores are used from several threads at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

from nas.errors import Conflict
from nas.store.base import Asked, Store, TrialQuery
from tests.store.samples import CURVES, architecture, proposal, record, run_trial

WRITERS, EACH = 4, 5
VALUES = {"loss": 1.0, "params": 2.0, "latency": 3.0}


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """What `work` returned or raised in each of `count` threads that started at once."""
    start = Barrier(count)

    def one(index: int) -> object:
        start.wait()
        try:
            return work(index)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_readers_see_whole_trials_while_others_write(store: Store) -> None:
    done = Event()

    def write(writer: int) -> None:
        for step in range(EACH):
            number = writer * EACH + step
            run_trial(store, record(number, VALUES), dim=64 * (1 + number % 3))
            store.add_event("s", "progress", {"number": number})
            store.add_seconds("s", 1.0)

    def read() -> int:
        seen = 0
        while not done.is_set():
            found, total = store.trials("s", TrialQuery())
            assert total == len(found) >= seen
            assert all(len(trial.measurements) == len(VALUES) for trial in found)
            assert all(store.curves("s", trial.number) == CURVES for trial in found[-2:])
            assert len(store.front_values("s", list(VALUES))) >= total
            told = [event.sequence for event in store.events("s")]
            assert told == list(range(len(told)))
            seen = total
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            raised = together(WRITERS, write)
        finally:
            done.set()
        for reader in reading:
            reader.result()

    assert raised == [None] * WRITERS
    every = WRITERS * EACH
    assert store.study("s").trials == every
    assert store.study("s").seconds == every
    assert len(store.events("s")) == 2 * every
    log = store.log("s")
    for number in range(every):
        (asked,) = [
            i for i, e in enumerate(log) if isinstance(e, Asked) and e.proposal.number == number
        ]
        (told,) = [i for i, e in enumerate(log) if not isinstance(e, Asked) and e.number == number]
        assert asked < told


def test_one_of_several_requests_with_a_key_makes_the_study(empty: Store) -> None:
    made = together(6, lambda _: empty.create_study("s", {"seed": 0}, "key"))
    assert made == [empty.study("s")] * 6


def test_one_of_several_finishes_wins(store: Store) -> None:
    store.ask("s", proposal(0), architecture())
    results = together(4, lambda index: store.finish(record(0, {"loss": float(index)}), {}))
    assert sorted(map(type, results), key=str) == sorted([Conflict] * 3 + [type(None)], key=str)
    assert store.trial("s", 0).value("loss") == float(results.index(None))
    assert len(store.events("s")) == 1
