"""Sequences of multi-query associative recall, generated on the fly (arXiv 2312.04927).

B sequences, T time, N pairs
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.evaluators.tasks.recall.spec import Recall

POWER = 0.01
"""Slot i = 1.. after the pairs is drawn with weight i^(POWER - 1): mostly near, at times far."""
IGNORED = -100
_TRAIN, _TEST = 0, 1


class RecallData:
    """Batches of one seed. Training and test sequences come from different random streams."""

    def __init__(self, task: Recall, seed: int) -> None:
        self.task = task
        self.seed = seed

    def train_batch(self, index: int, sequences: int) -> tuple[Tensor, Tensor]:
        """Tokens and targets, both int64 [sequences, T]."""
        return self._batch(sequences, _TRAIN, index)

    def test_batches(self, sequences: int) -> list[tuple[Tensor, Tensor]]:
        """The same `test_sequences` sequences however they are cut into batches."""
        tokens, targets = self._batch(self.task.test_sequences, _TEST, 0)
        return list(zip(tokens.split(sequences), targets.split(sequences), strict=True))

    def score(self, loss: float, correct: float) -> Mapping[str, float]:
        """From the mean test loss in nats and the share of queries answered right."""
        return {"recall.accuracy": correct, "recall.loss": loss}

    def describe(self) -> Mapping[str, Any]:
        """Chance level and sizes. `accuracy_among_seen` is that of a model which knows the values
        of the sequence, but not which key each belongs to."""
        return {
            "chance_accuracy": self.task.chance,
            "accuracy_among_seen": 1 / self.task.pairs,
            "test_queries": self.task.test_sequences * self.task.pairs,
        }

    def _batch(self, sequences: int, *stream: int) -> tuple[Tensor, Tensor]:
        task, random = self.task, np.random.default_rng((self.seed, *stream))
        keys = 1 + _distinct(random, sequences, task.first_value - 1, task.pairs)  # [B, N]
        values = task.first_value + _distinct(
            random, sequences, task.vocab - task.first_value, task.pairs
        )
        tokens = np.zeros((sequences, task.context), dtype=np.int64)
        if task.random_fill:
            tokens[:] = random.integers(task.vocab, size=tokens.shape)
        tokens[:, 0 : 2 * task.pairs : 2] = keys
        tokens[:, 1 : 2 * task.pairs : 2] = values
        asked = 2 * task.pairs + 2 * self._slots(random, sequences)  # [B, N]
        np.put_along_axis(tokens, asked, keys, axis=1)
        targets = np.full_like(tokens, IGNORED)
        np.put_along_axis(targets, asked, values, axis=1)
        return torch.from_numpy(tokens), torch.from_numpy(targets)

    def _slots(self, random: np.random.Generator, sequences: int) -> "np.ndarray[Any, Any]":
        """A different slot for each query, drawn by weight without replacement: [B, N]."""
        slots = (self.task.context - 2 * self.task.pairs) // 2
        log_weights = (POWER - 1) * np.log(np.arange(1, slots + 1))
        # the largest of log-weights with Gumbel noise are such a draw (arXiv 1903.06059)
        noisy = log_weights + random.gumbel(size=(sequences, slots))
        return np.argsort(-noisy, axis=1)[:, : self.task.pairs]


def _distinct(
    random: np.random.Generator, rows: int, options: int, count: int
) -> "np.ndarray[Any, Any]":
    """`count` different numbers of 0..options-1 for each row: [rows, count]."""
    return np.argsort(random.random((rows, options)), axis=1)[:, :count]
