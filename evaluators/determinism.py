"""Deterministic forms of torch's operations in training on a GPU, and which have none.

A CPU needs nothing of this. What it covers and what it does not is listed in ``docs/gpu.md``.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic as _untyped

_OPTIONS: Any = _untyped
_WITHOUT = re.compile(r"^(\S+) does not have a deterministic implementation")


@contextmanager
def deterministic(device: str) -> Iterator[set[str]]:
    """In the body, on ``cuda``, torch computes in the same order each time wherever it can, and
    goes on where it cannot. Yields the set of operations that were met and have no such form, under
    the names that torch gives them; it grows with the body.

    Timed code must not run in it: a user's model will not.
    """
    met: set[str] = set()
    if device != "cuda":
        yield met
        return
    mode, filled = torch.get_deterministic_debug_mode(), _OPTIONS.fill_uninitialized_memory
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_WITHOUT.pattern)
        show = warnings.showwarning

        def note(message: Any, *rest: Any, **named: Any) -> None:
            found = _WITHOUT.match(str(message))
            if found:
                met.add(found[1])
            else:
                show(message, *rest, **named)

        warnings.showwarning = note
        # `use_deterministic_algorithms` would import torch's compiler for this
        torch.set_deterministic_debug_mode("warn")
        _OPTIONS.fill_uninitialized_memory = False  # nothing reads such memory, and it takes time
        try:
            yield met
        finally:
            torch.set_deterministic_debug_mode(mode)
            _OPTIONS.fill_uninitialized_memory = filled
