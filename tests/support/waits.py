"""For what a training step would make the host wait on a GPU, found without one.

The step runs on the ``meta`` device, whose tensors have shapes and no values. Whatever needs a
value on the host cannot go on there, and a copy between host and device shows.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.evaluators.optimiser import AdamW
from nas.evaluators.step import take_step


class Waits(Exception):
    """What the host would wait for."""


def find_wait(model: Any, tokens: Tensor, targets: Tensor) -> str | None:
    """For what a training step of a model would make the host wait; None for nothing. The update
    is left out: torch's fused one is one operation, which has no form on this device."""
    there = model.to("meta").train()
    batch = (tokens.to("meta"), targets.to("meta"))
    try:
        with _Copies(), _Listed():
            take_step(there, _NoUpdate(there), batch, 0.0, bfloat16=False)
    except (Waits, RuntimeError) as error:
        return str(error).partition(": ")[0]
    return None


class _NoUpdate(AdamW):
    """Leaves the weights."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.parameters(), weight_decay=0.0)

    def step(self, rate: float | Tensor) -> None:
        assert all(p.grad is not None for group in self.groups for p in group.parameters[:1])


class _Copies(TorchDispatchMode):
    """Raises where a tensor passes between host and device; a number may pass with a launch."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.device.type for t in _tensors((args, kwargs)) if t.ndim}
        devices = given | {t.device.type for t in _tensors(out)}
        if {"cpu", "meta"} <= devices:
            raise Waits(f"aten::{func.overloadpacket.__name__} between host and device")
        return out


class _Listed(TorchFunctionMode):
    """Raises where numbers from the host become a tensor on the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor)
        if made and out.device.type == "meta":
            raise Waits("torch.tensor on the device")
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
