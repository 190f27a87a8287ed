"""The state of a training, put aside so that steps can be tried and undone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.evaluators.optimiser import AdamW


class Snapshot:
    """Weights, buffers, moments and random generators as they are when it is made."""

    def __init__(self, model: nn.Module, optimizer: AdamW, cuda: Any) -> None:
        """`cuda` is ``torch.cuda``, or stands in for it."""
        self._model, self._cuda = model, cuda
        self.device = next(model.parameters()).device
        self._buffers = dict(model.named_buffers())
        own = (*model.parameters(), *self._buffers.values(), *optimizer.state().values())
        self._tensors = [tensor.detach() for tensor in own]
        self._kept = self.now()
        self._generators = (torch.get_rng_state(), cuda.get_rng_state(self.device))

    def now(self) -> list[Tensor]:
        """Copies of all tensors as they are now."""
        return [tensor.clone() for tensor in self._tensors]

    def replaced(self) -> str | None:
        """Names a buffer for which the model holds another tensor by now."""
        held = dict(self._model.named_buffers())
        for name in sorted(self._buffers.keys() | held.keys()):
            if held.get(name) is not self._buffers.get(name):
                return name
        return None

    def restore(self) -> None:
        """Puts everything back, into the tensors that were there. A buffer that has come into being
        since stays: what needs it made it, as a cache is made."""
        for name, buffer in self._buffers.items():
            owner, _, last = name.rpartition(".")
            setattr(self._model.get_submodule(owner), last, buffer)
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            tensor.copy_(kept)
        torch.set_rng_state(self._generators[0])
        self._cuda.set_rng_state(self._generators[1], self.device)


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether all values are equal; NaN equals NaN."""
    return all(
        bool(((a == b) | (a.isnan() & b.isnan())).all()) for a, b in zip(one, other, strict=True)
    )


def distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest difference of two values, relative to the largest value of their tensor; infinite
    where one is not finite."""
    found = [0.0]
    for a, b in zip(one, other, strict=True):
        if a.numel():
            size = a.double().abs().max().clamp(min=torch.finfo(torch.float64).tiny)
            found.append(float((a.double() - b.double()).abs().max() / size))
    return max(each if each == each else float("inf") for each in found)
