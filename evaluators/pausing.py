"""A paused training on disk: everything that changes from step to step, and what it belongs to.

Tensors are stored as they are and other numbers as JSON, which gives back each float exactly, so a
training that goes on from its checkpoint is the uninterrupted one, bit for bit.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.evaluators.train import TrainingRun
from nas.pauses import Stretch


class Unusable(Exception):
    """Why a training cannot go on from a checkpoint."""


class Missing(Unusable):
    """There is none."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest checkpoint of one training, which may not be there."""

    path: Path
    training: Mapping[str, Any]
    """What decides how the training goes, as JSON: architecture, task, seed, batches ... A
    checkpoint of any other training is not used."""

    def steps(self) -> int:
        """How many steps the training had made. Raises Unusable."""
        _, numbers = self._read(with_tensors=False)
        return int(numbers["step"])

    def restore(self, run: TrainingRun) -> None:
        """Takes a run that has not begun to where the training was paused. Raises Unusable, and
        then the run is as it was."""
        tensors, numbers = self._read(with_tensors=True)
        if _shapes(tensors) != _shapes(run.tensors()):
            raise Unusable("the checkpoint holds other tensors than this training has")
        run.restore(tensors, numbers)

    def write(self, run: TrainingRun) -> int:
        """Keeps where a run is, in place of what was kept. The file appears whole or not at all.
        Returns its size in bytes. Raises OSError or SafetensorError where it cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in run.tensors().items()
        }
        numbers = json.dumps(run.numbers())
        metadata = {
            "training": _canonical(self.training),
            "numbers": numbers,
            "checksum": _checksum(tensors, numbers),
        }
        try:
            save_file(tensors, part, metadata=metadata)
            size = part.stat().st_size
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)
        return size

    def remove(self) -> None:
        """Deletes it, if it is there."""
        self.path.unlink(missing_ok=True)

    def _read(self, *, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors, where they are asked for, and the other numbers. Raises Unusable."""
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata()
                names = file.keys() if with_tensors else ()
                tensors = {name: file.get_tensor(name) for name in names}
            if metadata["training"] != _canonical(self.training):
                raise Unusable("the checkpoint is that of another training")
            numbers = metadata["numbers"]
            if with_tensors and metadata["checksum"] != _checksum(tensors, numbers):
                raise Unusable("the checkpoint is damaged: its checksum is wrong")
            return tensors, json.loads(numbers)
        except FileNotFoundError:
            raise Missing("there is no checkpoint") from None
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            raise Unusable(f"the checkpoint cannot be read: {error}") from None


def train_stretch(run: TrainingRun, stretch: Stretch, checkpoint: Checkpoint) -> dict[str, Any]:
    """Trains a run that has not begun up to the end of a stretch, from the checkpoint where it can
    be used and else from the first weights, and leaves the newest checkpoint unless the training is
    over. A checkpoint of a later stretch, as after a crash, is left for that one.

    Returns, for the record: ``from_step`` and ``to_step``; ``bytes`` of the checkpoint, or
    ``not_kept`` (why); ``restarted``, why a checkpoint that should have been there was not used.
    Raises EvaluationFailed ``diverged``.
    """
    said: dict[str, Any] = {}
    is_ahead = False
    try:
        is_ahead = checkpoint.steps() > stretch.stop
        if not is_ahead:
            checkpoint.restore(run)
    except Unusable as reason:
        if stretch.start or not isinstance(reason, Missing):
            said["restarted"] = str(reason)
    if is_ahead:
        said["restarted"] = "the checkpoint is that of a later step"
    said |= {"from_step": run.step, "to_step": stretch.stop}
    run.advance(stretch.stop)
    if stretch.is_last:
        checkpoint.remove()
    elif not is_ahead:
        said |= _kept(run, checkpoint)
    return said


def _kept(run: TrainingRun, checkpoint: Checkpoint) -> dict[str, Any]:
    """A full disk costs the checkpoint, and not what was trained."""
    try:
        return {"bytes": checkpoint.write(run)}
    except (OSError, SafetensorError) as error:
        return {"not_kept": str(error)}


def _canonical(training: Mapping[str, Any]) -> str:
    return json.dumps(training, sort_keys=True)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _checksum(tensors: Mapping[str, Tensor], numbers: str) -> str:
    """BLAKE2b of the numbers and the tensors' bytes in order of their names."""
    found = hashlib.blake2b(numbers.encode(), digest_size=16)
    for _, tensor in sorted(tensors.items()):
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
