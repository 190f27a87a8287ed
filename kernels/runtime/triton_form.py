"""The Triton form of an op, imported when it is first called: triton takes long to import, and
not every machine has it. This file needs no torch.
"""

import importlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from nas.kernels.runtime.impl import Unsupported
from nas.kernels.runtime.tuning import current_table

INTERPRET = "TRITON_INTERPRET"
"""Set to 1 before triton is imported, this makes kernels run in Triton's interpreter."""


def triton_form(op: str, name: str | None = None) -> Callable[..., Any]:
    """``nas.kernels.<op>.triton.<name>`` as a function that imports it when called.

    ``name`` is by default that of the op. Calling it raises ``Unsupported`` where triton is not
    installed, or where its first argument is on the CPU and the interpreter is off.
    Launch choices of the tuning in force (``tuning.py``) are handed on where there are any.
    """

    def call(first: Any, *rest: Any, **named: Any) -> Any:
        _refuse_where_it_cannot_run(op, first.device.type)
        module = importlib.import_module(f"nas.kernels.{op}.triton")
        table = current_table()
        if op in table.choices:
            key_of = importlib.import_module(f"nas.kernels.{op}.tuning").key_of
            named["choices"] = table.found(op, key_of(first, *rest))
        return getattr(module, name or op)(first, *rest, **named)

    return call


def _refuse_where_it_cannot_run(op: str, device: str) -> None:
    if find_spec("triton") is None:
        raise Unsupported(f"{op}: implementation 'triton' needs the package triton")
    if device == "cpu" and os.environ.get(INTERPRET) != "1":
        raise Unsupported(
            f"{op}: implementation 'triton' runs on the CPU only with {INTERPRET}=1 set "
            "before triton is imported"
        )
