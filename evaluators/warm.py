"""A process that stays warm: it holds one object whose methods are called with a deadline and a
memory bound, and whatever happens to it comes back as an EvaluationFailed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import Pipe
from typing import Any

import psutil

from nas.errors import Unavailable
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.child import Reply, Request
from nas.evaluators.gate import GateKeeper

POLL_SECONDS = 0.05
START_SECONDS = 300.0
"""For importing torch and reading the corpus, on a busy machine."""
LOG_TAIL_BYTES = 4000
_PROGRAM = "from nas.evaluators.child import main; main()"


class WarmProcess:
    """One worker. Not thread-safe, but for `kill` and what has to do with halts, which any thread
    may call."""

    def __init__(
        self,
        factory: str,
        arguments: Mapping[str, Any],
        *,
        environment: Mapping[str, str] = {},
        halts: bool = False,
    ) -> None:
        """Starts at once and returns without waiting.

        `factory` is ``module:Class``, called with `arguments` in the new process; `environment`
        adds variables to the parent's. With `halts` it is called with a ``gate`` too, which its
        methods pass between two steps.
        """
        self._ready = False
        self._log = tempfile.TemporaryFile("ab+")  # noqa: SIM115 - lives as long as the process
        self._connection, child = Pipe()
        self._gate = GateKeeper() if halts else None
        descriptors = (child.fileno(), *(self._gate.fds if self._gate else ()))
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **environment, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        child.close()
        if self._gate:
            self._gate.handed_over()
        self._connection.send(Request(factory, dict(arguments)))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another call."""
        return self._process.poll() is None

    def halt(self, number: int) -> None:
        """Asks for a halt at the next gate, in this call or the next, and returns at once; `number`
        is above 0 and that of no earlier halt. Without effect on a worker that has no gate."""
        if self._gate:
            self._gate.close(number)

    def go_on(self) -> None:
        """Ends the halt."""
        if self._gate:
            self._gate.open()

    @property
    def is_halted(self) -> bool:
        """Whether it stands still, as was asked for last."""
        return self._gate is not None and self._gate.is_halted and self.alive

    @property
    def halted_seconds(self) -> float:
        """How long it has stood still in all."""
        return self._gate.seconds if self._gate else 0.0

    def wait_until_ready(self) -> None:
        """Waits until the object is built. Raises the NasError with which it refused, or
        Unavailable if it could not be built; the process is gone then."""
        if self._ready:
            return
        try:
            self._result("start", START_SECONDS, None)
        except EvaluationFailed as failure:
            self.kill()
            raise Unavailable(
                f"a worker process could not start ({failure.kind}): {failure.message}"
            ) from None
        self._ready = True

    def call(
        self,
        method: str,
        arguments: Mapping[str, Any],
        *,
        stage: str,
        seconds: float,
        memory_bytes: int | None = None,
    ) -> Any:
        """What the method returns.

        Raises:
            EvaluationFailed: it raised (``error``, ``out_of_memory``, or a kind of its own), took
                more than `seconds` (``timeout``), held more than `memory_bytes` (``out_of_memory``)
                or ended the process (``died``). After the last three the process is gone. The time
                in halts does not count.
            NasError: it refused with one.
        """
        self.wait_until_ready()
        self._log.truncate(0)
        try:
            self._connection.send(Request(method, dict(arguments)))
        except OSError:
            raise self._died(stage) from None
        return self._result(stage, seconds, memory_bytes)

    def kill(self) -> None:
        """Ends the process now, whatever it does."""
        self._process.kill()
        self._process.wait()

    def _result(self, stage: str, seconds: float, memory_bytes: int | None) -> Any:
        reply = self._wait(stage, seconds, memory_bytes)
        if reply.state == "refused":
            raise reply.value
        if reply.state == "failed":
            kind, message = reply.value
            raise EvaluationFailed(stage, kind, message)
        return reply.value

    def _wait(self, stage: str, seconds: float, memory_bytes: int | None) -> Reply:
        deadline, before = time.monotonic() + seconds, self.halted_seconds
        try:
            while not self._connection.poll(POLL_SECONDS):
                if time.monotonic() > deadline + self.halted_seconds - before:
                    self.kill()
                    message = f"not finished after {seconds:g} s; the worker was ended"
                    raise EvaluationFailed(stage, "timeout", message)
                if not self.is_halted:  # what stands still needs no more, and a look takes time
                    self._check_memory(stage, memory_bytes)
            reply: Reply = self._connection.recv()
            return reply
        except (EOFError, OSError):
            raise self._died(stage) from None

    def _check_memory(self, stage: str, memory_bytes: int | None) -> None:
        if memory_bytes is None:
            return
        try:
            used = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:  # it just ended, which the next poll will say
            return
        if used <= memory_bytes:
            return
        self.kill()
        raise EvaluationFailed(
            stage,
            "out_of_memory",
            f"the worker held {used / 2**30:.2f} GiB, and {memory_bytes / 2**30:.2f} GiB is the "
            "bound; it was ended",
        )

    def _died(self, stage: str) -> EvaluationFailed:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = self._last_words()
        return EvaluationFailed(
            stage, "died", f"the worker ended with {how}" + (f": {said}" if said else "")
        )

    def _last_words(self) -> str:
        """What it wrote before it ended: the fatal error and where, else the last lines."""
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        fatal = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
        chosen = lines[fatal[-1] : fatal[-1] + 3] if fatal else lines[-3:]
        return " | ".join(chosen)
