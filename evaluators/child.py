"""The worker's side of ``warm.WarmProcess``: builds one object, then calls its methods on request.

Its arguments are the file descriptor of a socket to the parent and, where it may be halted, those
of its gate. It ends when the parent is gone, however that came about. Torch is imported by the
object, not here.
"""

import faulthandler
import os
import select
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Literal

from nas.errors import BadInput, NasError, Unavailable
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.gate import Gate

OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch's allocators write, in lower case; on a CPU it is an ordinary RuntimeError."""


@dataclass(frozen=True, slots=True)
class Request:
    """The first one names what to build (``module:Class``), each further one a method of it."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """``done`` with a result; ``failed`` with (kind, message), which is the candidate's own fault;
    ``refused`` with a NasError, which would meet every candidate."""

    state: Literal["done", "failed", "refused"]
    value: Any


def main() -> None:
    """Serves until the parent closes its end."""
    faulthandler.enable()
    socket, *gate = map(int, sys.argv[1:])
    for descriptor in (socket, *gate):
        os.set_inheritable(descriptor, False)
    parent: Connection[Any, Any] = Connection(socket)
    threading.Thread(target=_exit_with_parent, args=(parent.fileno(),), daemon=True).start()
    try:
        _serve(parent, {"gate": Gate(*gate)} if gate else {})
    except (EOFError, ConnectionError):
        return


def _serve(parent: "Connection[Any, Any]", more: Mapping[str, Any]) -> None:
    """`more` is what the object is built with besides what the parent says."""
    request: Request = parent.recv()
    module, name = request.name.split(":")
    built: list[Any] = []

    def build() -> None:
        built.append(getattr(import_module(module), name)(**request.arguments, **more))

    def call() -> Any:
        return getattr(built[0], request.name)(**request.arguments)

    parent.send(attempt(build))
    while built:
        request = parent.recv()
        parent.send(attempt(call))


def attempt(function: Callable[[], Any]) -> Reply:
    """Calls, and turns whatever is raised into a reply."""
    try:
        return Reply("done", function())
    except (BadInput, Unavailable) as refusal:
        return Reply("refused", refusal)
    except EvaluationFailed as failure:
        return Reply("failed", (failure.kind, failure.message))
    except Exception as error:
        return Reply("failed", ("out_of_memory" if is_memory(error) else "error", text(error)))


def is_memory(error: Exception) -> bool:
    """Whether Python or torch could not allocate."""
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in said for part in OUT_OF_MEMORY_TEXTS)


def text(error: Exception) -> str:
    """Type, message, and the place where it was raised."""
    message = error.message if isinstance(error, NasError) else str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno}, {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {message}{place}"


def _exit_with_parent(socket: int) -> None:
    """Waits for the other end to close. The death signal of Linux will not do: it comes when the
    *thread* that started the worker ends, and studies start workers from short-lived threads."""
    watch = select.poll()
    watch.register(socket, 0)  # a hang-up is always reported
    watch.poll()
    os._exit(0)
