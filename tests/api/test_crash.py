"""kill -9 at random moments: nothing that was finished is lost, nothing is done twice."""

import random
import time
from pathlib import Path

from nas.client import Client
from nas.record import TrialRecord
from nas.store.base import TrialQuery
from tests.support.fake import small_study
from tests.support.server import Server

TRIALS = 40
KILLS = 5


def test_a_study_survives_being_killed_at_random_moments(tmp_path: Path) -> None:
    generator = random.Random(7)
    known: dict[int, TrialRecord] = {}
    finished_at: list[tuple[int, set[int]]] = []
    server = Server(tmp_path, seconds=0.02)
    try:
        Client(server.url).create_study(small_study("crash", trials=TRIALS))
        for kill in range(KILLS):
            time.sleep(generator.uniform(0.0, 0.6))
            known = _check(Client(server.url), known)
            while len(known) <= kill:  # some progress between two kills, however slow the machine
                time.sleep(generator.uniform(0.0, 0.1))
                known = _check(Client(server.url), known)
            server.kill()
            finished_at.append((len(_trained(tmp_path)), set(known)))
            server = Server(tmp_path, seconds=0.02)
            known = _check(Client(server.url), known)
        for _ in Client(server.url).events("crash", follow=True):
            pass
        finished = _check(Client(server.url), known)
    finally:
        server.close()

    evaluated = [t for t in finished.values() if t.state in ("complete", "failed")]
    assert len(evaluated) == TRIALS
    assert sorted(finished) == list(range(len(finished)))
    assert len({t.architecture for t in evaluated}) == TRIALS
    trained = _trained(tmp_path)
    assert set(trained) == {t.number for t in evaluated}
    assert finished_at[-1][1]  # the last kill, at least, came after some trials
    for lines, finished_then in finished_at:
        assert not finished_then & set(trained[lines:])  # what was finished is not done again
    assert len(trained) - TRIALS <= KILLS  # a kill can cut off one training, which is begun again


def _check(client: Client, known: dict[int, TrialRecord]) -> dict[int, TrialRecord]:
    """Everything that was ever seen finished is still there, and unchanged."""
    page = client.trials("crash", TrialQuery(count=1000))
    found = {trial.number: trial for trial in page.trials}
    assert page.total == len(found)
    for number, trial in known.items():
        assert found[number] == trial
    return found


def _trained(home: Path) -> list[int]:
    log = home / "trained.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []
