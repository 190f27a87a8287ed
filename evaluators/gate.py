"""A gate between two steps of a training, which another process may close for a while.

The two sides share four numbers in memory, so that an open gate costs a look at one of them (0.2
microseconds), and a pipe, on which a worker that is halted waits without waking up: naps would take
time from what is being measured meanwhile. A worker halts itself and is not stopped by a signal,
since a stopped process would not notice that its parent has ended.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from multiprocessing import Pipe
from typing import IO

_ASKED, _ANSWERED, _SINCE, _TOTAL = range(4)
"""Number of the halt that the parent wants, or 0; number of the halt that the worker is at, or 0;
when that began, and how long earlier ones took, in nanoseconds of the system's monotonic clock.
The parent writes the first one, the worker the others."""
_BYTES = 4 * 8


IDLE_SECONDS = 0.005
"""How long a process is watched to see whether it computes."""
IDLE_TRIES = 200


def open_gate() -> None:
    """A gate that nobody closes."""


def wait_until_idle() -> None:
    """Returns when no thread of this process takes processor time; after a second in any case.

    OpenMP's threads look for more work for a while before they sleep: 4 to 9 ms with two threads of
    torch 2.13.0 on 2 cores, nothing with one thread.
    """
    for _ in range(IDLE_TRIES):
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        if time.process_time() - before < IDLE_SECONDS / 10:
            return


class Gate:
    """The worker's side: called between two steps, it goes on at once or when it is let."""

    def __init__(self, memory: int, wake: int) -> None:
        """File descriptors, as `GateKeeper.fds` has them."""
        self._words = _words(memory)
        self._wake = wake
        self.settle: Callable[[], object] = open_gate
        """Waits for what was begun and runs on by itself, before it is said that nothing runs."""

    def __call__(self) -> None:
        """Halts for as long as the parent wants. Ends the process where the parent is gone."""
        if self._words[_ASKED]:
            self._halt()

    def _halt(self) -> None:
        self.settle()
        began = time.monotonic_ns()
        self._words[_SINCE] = began
        # the number tells a halt from the one before, from which this may not have gone on yet
        while number := self._words[_ASKED]:
            self._words[_ANSWERED] = number
            if not os.read(self._wake, 64):
                os._exit(0)
        self._words[_TOTAL] += time.monotonic_ns() - began
        self._words[_ANSWERED] = 0


class GateKeeper:
    """The parent's side. Any thread may look; only one at a time may close and open."""

    def __init__(self) -> None:
        self._memory = _memory()
        os.ftruncate(self._memory.fileno(), _BYTES)
        self._words = _words(self._memory.fileno())
        self._theirs, self._wake = Pipe(duplex=False)
        os.set_blocking(self._wake.fileno(), False)

    @property
    def fds(self) -> tuple[int, int]:
        """What the worker needs, until `handed_over`."""
        return self._memory.fileno(), self._theirs.fileno()

    def handed_over(self) -> None:
        """The worker has its own copies now, and nobody else shall keep its end of the pipe."""
        self._memory.close()
        self._theirs.close()

    def close(self, number: int) -> None:
        """Asks for a halt; `number` is above 0 and that of no earlier one."""
        self._words[_ASKED] = number

    def open(self) -> None:
        """Ends the halt, whether or not the worker has come to it."""
        self._words[_ASKED] = 0
        # where it is full, there is enough in it to wake up from
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._wake.fileno(), b"\0")

    @property
    def is_halted(self) -> bool:
        """Whether the worker stands still at the halt that was asked for last."""
        number = self._words[_ASKED]
        return number != 0 and self._words[_ANSWERED] == number

    @property
    def seconds(self) -> float:
        """How long the worker has stood still in all, up to now."""
        now = time.monotonic_ns() - self._words[_SINCE] if self._words[_ANSWERED] else 0
        return (self._words[_TOTAL] + now) / 1e9


def _memory() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _words(memory: int) -> memoryview:
    """Numbers of 64 bits; each is read and written at once."""
    return memoryview(mmap(memory, _BYTES)).cast("Q")
