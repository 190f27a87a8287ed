"""kill -9 at any moment: what was acknowledged is there, and nothing is half written."""

import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

from nas.errors import NotFound
from nas.store.base import Asked, Store, Told, TrialQuery
from nas.store.duckdb import DuckDBStore
from tests.store.samples import CURVES, architecture
from tests.store.writer import VALUES, Writers

# Up to where a writer is let run before it is killed a little later.
MOMENTS = ("pid", "opened", "told 2", "asked 0", "told 0", "noted 1", "asked 3", "pid", "told 4")


def test_nothing_acknowledged_is_lost(writers: Writers, tmp_path: Path) -> None:
    random_ = random.Random(0)
    path = tmp_path / "nas.duckdb"
    acknowledged: dict[str, list[str]] = {}
    for moment, line in enumerate(MOMENTS):
        # A small threshold makes it likely that the kill hits a checkpoint.
        pid = writers.start(path, f"s{moment}", 20_000 if moment % 3 else 2**24)
        said = wait_for(writers, line)
        time.sleep(random_.uniform(0.0, 0.1))
        os.kill(pid, signal.SIGKILL)
        acknowledged[f"s{moment}"] = said + writers.read_rest()
        with closing(DuckDBStore(path)) as store:
            check(store, f"s{moment}", acknowledged[f"s{moment}"])
    with closing(DuckDBStore(path)) as store:
        for name, lines in acknowledged.items():
            check(store, name, lines)


def test_a_kill_while_the_database_is_made_leaves_one_or_none(
    writers: Writers, tmp_path: Path
) -> None:
    for moment in range(6):
        path = tmp_path / f"{moment}.duckdb"
        pid = writers.start(path, "s")
        time.sleep(moment * 0.01)
        os.kill(pid, signal.SIGKILL)
        lines = writers.read_rest()
        with closing(DuckDBStore(path)) as store:
            check(store, "s", lines)


def wait_for(writers: Writers, line: str) -> list[str]:
    """What was said up to that line; ``pid`` was said already."""
    said: list[str] = []
    while line != "pid" and line not in said:
        said.append(writers.read_line())
        assert said[-1] != "ended"
    return said


def check(store: Store, study: str, acknowledged: list[str]) -> None:
    """All that was acknowledged is in the study, and at most one step more."""
    last = dict.fromkeys(("asked", "told", "noted", "counted"), -1)
    for kind, number in (line.split() for line in acknowledged if " " in line):
        last[kind] = int(number)
    try:
        shown = store.study(study)
    except NotFound:
        assert "created" not in acknowledged
        return
    log = store.log(study)
    asked = [entry.proposal.number for entry in log if isinstance(entry, Asked)]
    told = [entry.number for entry in log if isinstance(entry, Told)]
    notes = [event for event in store.events(study) if event.kind == "note"]
    for kind, count in (
        ("asked", len(asked)),
        ("told", len(told)),
        ("noted", len(notes)),
        ("counted", shown.seconds),
    ):
        assert count - 1 in (last[kind], last[kind] + 1)
    assert asked == list(range(len(asked)))
    assert told == list(range(len(told)))
    check_whole(store, study, told)
    assert {store.architecture(e.architecture).dim for e in log if isinstance(e, Asked)} == {
        64 * (1 + number % 5) for number in asked
    }


def check_whole(store: Store, study: str, numbers: list[int]) -> None:
    """Each trial has its measurements, curves and event."""
    found, _ = store.trials(study, TrialQuery())
    assert [trial.number for trial in found] == numbers
    for trial in found:
        assert {m.metric: m.value for m in trial.measurements} == VALUES
        assert store.curves(study, trial.number) == CURVES
        assert trial.architecture == architecture(64 * (1 + trial.number % 5)).id
    events = [event for event in store.events(study) if event.kind == "trial"]
    assert [event.data["number"] for event in events] == numbers
