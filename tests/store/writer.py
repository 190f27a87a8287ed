"""Processes that write to a database until they are killed, for the tests of what is left.

Imports are paid once: this program forks a writer for each line ``PATH STUDY CHECKPOINT LIMIT`` on
its input. A writer says on its output what was acknowledged, a line for each method that returned.
A writer of the study ``-`` opens the database and closes it.
``CHECKPOINT`` is how many bytes of log are gathered before they go into the file, ``LIMIT`` the
bytes that a file may grow to, as on a disk that fills up.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

from nas.errors import StoreError
from nas.store import duckdb
from tests.store.samples import CURVES, architecture, proposal, record

ROOT = Path(__file__).parents[2]
VALUES = {"loss": 1.0, "params": 2.0, "latency": 3.0}


def write(path: Path, study: str) -> None:
    """Never returns, unless a write is refused."""
    store = duckdb.DuckDBStore(path)
    say("opened")
    store.create_study(study, {"seed": 0}, study)
    say("created")
    number = 0
    while True:
        chosen = architecture(64 * (1 + number % 5))
        store.ask(study, proposal(number), chosen)
        say(f"asked {number}")
        store.finish(record(number, VALUES, study=study, architecture=chosen.id), CURVES)
        say(f"told {number}")
        store.add_event(study, "note", {"number": number, "text": "x" * 10_000})
        say(f"noted {number}")
        store.add_seconds(study, 1.0)
        say(f"counted {number}")
        number += 1


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    for line in sys.stdin:
        path, study, checkpoint, limit = line.split()
        duckdb.CHECKPOINT_BYTES = int(checkpoint)
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
                if study == "-":
                    duckdb.DuckDBStore(Path(path)).close()
                    say("opened")
                else:
                    write(Path(path), study)
            except StoreError as error:
                say(f"refused {error}")
            os._exit(0)
        say(f"pid {child}")
        os.waitpid(child, 0)
        say("ended")


class Writers:
    """The program above; one writer at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.writer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, path: Path, study: str, checkpoint: int = 2**24, limit: int = 2**40) -> int:
        """Starts a writer and returns its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path} {study} {checkpoint} {limit}\n")
        self.process.stdin.flush()
        return int(self.read_line().removeprefix("pid "))

    def open(self, path: Path) -> str:
        """What another process says when it opens the file."""
        self.start(path, "-")
        (said,) = self.read_rest()
        return said

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def read_rest(self) -> list[str]:
        """What a writer said until its end."""
        return list(iter(self.read_line, "ended"))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    main()
