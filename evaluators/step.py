"""One training step, without a wait of the host for the device, and the losses that it leaves.

What a step does is the same everywhere. How it is run differs: as Python says (`EagerSteps`), or
captured once and replayed (``captured.py``).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.evaluators.optimiser import AdamW
from nas.evaluators.packing import packed
from nas.evaluators.tasks.data import Batch

CLIP_NORM = 1.0
LOSSES_READ_AT_ONCE = 32
"""On a GPU, where reading a loss waits until the step that made it is over."""


class Steps(Protocol):
    """How the steps of a training are run."""

    def take(self, batch: Batch, rate: float, *, variant: int, left: int) -> Tensor:
        """One step at a learning rate, as `TaskData.train_batch` gives its batch. `variant` numbers
        the computations that a model may choose from, such as its nested prefixes; `left` steps,
        this one included, are known to follow. Returns the loss, on the device."""

    def release(self) -> None:
        """Gives back what is held for the next steps only."""

    def said(self) -> dict[str, Any]:
        """How the steps were run, for the record."""


class EagerSteps:
    """Operation by operation, on the device of the model."""

    def __init__(self, model: Any, optimizer: AdamW, *, bfloat16: bool) -> None:
        self._model, self._optimizer, self._bfloat16 = model, optimizer, bfloat16
        self._device = next(model.parameters()).device
        # a captured step can only read its rate from the device, in float32; so does this one
        # there, and both give the same weights
        self._rate = None if self._device.type == "cpu" else torch.zeros((), device=self._device)

    def take(self, batch: Batch, rate: float, *, variant: int = 0, left: int = 1) -> Tensor:
        """See `Steps.take`."""
        tokens, targets, *lengths = batch
        there = (sent(tokens, self._device), sent(targets, self._device), *lengths)
        given = rate if self._rate is None else self._rate.fill_(rate)
        return take_step(self._model, self._optimizer, there, given, bfloat16=self._bfloat16)

    def release(self) -> None:
        """Nothing is held."""

    def said(self) -> dict[str, Any]:
        """See `Steps.said`."""
        return {"form": "eager"}


class Losses:
    """Hands each loss on, in blocks of steps where the losses are on a GPU."""

    def __init__(self, note: Callable[[int, float], None], device: torch.device) -> None:
        """`note` is told the number of a step and its loss, in the order of the steps."""
        self._note = note
        self._block = 1 if device.type == "cpu" else LOSSES_READ_AT_ONCE
        self._waiting: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor) -> None:
        """The loss of a step, which must not be overwritten. Raises what `note` raises."""
        self._waiting.append((step, loss))
        if len(self._waiting) >= self._block:
            self.read()

    def read(self) -> None:
        """Hands on what is waiting; the host waits once. Raises what `note` raises."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            values = torch.stack([loss for _, loss in waiting]).tolist()
            for (step, _), value in zip(waiting, values, strict=True):
                self._note(step, value)


def take_step(
    model: Any, optimizer: AdamW, batch: Any, rate: float | Tensor, *, bfloat16: bool
) -> Tensor:
    """Forward, backward, and an update with clipped gradients, on a batch where the model is.
    Leaves no gradients and returns the loss. The host waits for nothing, unless a module does."""
    tokens, targets, *lengths = batch
    with autocast(tokens.device, bfloat16), packed(model, *lengths):
        loss: Tensor = model.loss(tokens, targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step(rate)
    optimizer.zero_grad()
    return loss.detach()


def autocast(device: torch.device, bfloat16: bool) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16, weights and sums in float32."""
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else nullcontext()


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The same values on a device. Only from pinned memory does a copy not wait for the steps
    before."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
