"""Stands in for the stages of a study and does what candidates should not. Runs in a worker."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from nas.errors import Unavailable
from nas.evaluators.base import EvaluationFailed, StageResult
from nas.evaluators.gate import open_gate

CHUNK_BYTES = 8 << 20


class Faults:
    """`run` calls the method that the architecture is named for here: the trial's number says."""

    def __init__(self, **arguments: Any) -> None:
        self.calls = 0
        self.gate = arguments.get("gate", open_gate)

    def run(
        self, stage: str, architecture: Mapping[str, Any], number: int, repeat: int = 0
    ) -> StageResult:
        name = FAULTS[number]
        self.calls += 1
        getattr(self, name)()
        return StageResult((), environment={"pid": os.getpid(), "calls": self.calls})

    def work(self) -> None:
        """Nothing is wrong."""

    def hang(self) -> None:
        while True:
            time.sleep(0.01)

    def segfault(self) -> None:
        print("about to fail", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    def leave(self) -> None:
        os.write(2, b"leaving early\n")
        os._exit(3)

    def exhaust(self) -> None:
        held = []
        while True:
            held.append(bytearray(b"1") * CHUNK_BYTES)

    def allocate(self) -> None:
        bytearray(1 << 60)

    def torch_allocate(self) -> None:
        """What torch's allocator says on a CPU."""
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 TB")

    def fail(self) -> None:
        raise ValueError("seven is not a width")

    def diverge(self) -> None:
        raise EvaluationFailed("train", "diverged", "the loss became nan")

    def refuse(self) -> None:
        raise Unavailable("no such device")

    def step(self) -> None:
        """A few steps with a gate between them."""
        for _ in range(3):
            self.gate()

    def pid(self) -> int:
        return os.getpid()


FAULTS = (
    "work",
    "hang",
    "segfault",
    "leave",
    "exhaust",
    "allocate",
    "torch_allocate",
    "fail",
    "diverge",
    "refuse",
    "step",
)


class Unbuildable:
    """Fails while it is made."""

    def __init__(self, **arguments: Any) -> None:
        raise RuntimeError("nothing to see here")
