"""Windows of a text in which some bytes are hidden.

B sequences, T time
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.evaluators.tasks.masked_text.spec import MASK, MaskedText
from nas.evaluators.tasks.text.data import TextData

IGNORED = -100
_TRAIN, _TEST = 0, 1


class MaskedTextData:
    """Batches of one corpus and seed."""

    def __init__(self, task: MaskedText, text: TextData) -> None:
        self.task = task
        self.text = text

    def train_batch(self, index: int, sequences: int) -> tuple[Tensor, Tensor]:
        """Tokens and targets, both int64 [sequences, context]."""
        tokens, _ = self.text.train_batch(index, sequences)
        return self._hide(tokens, self.text.seed, _TRAIN, index)

    def test_batches(self, sequences: int) -> list[tuple[Tensor, Tensor]]:
        """Held-out windows with the same bytes hidden for every seed and candidate."""
        whole = torch.cat([tokens for tokens, _ in self.text.test_batches(sequences)])
        tokens, targets = self._hide(whole, _TEST)
        return list(zip(tokens.split(sequences), targets.split(sequences), strict=True))

    def score(self, loss: float, correct: float) -> Mapping[str, float]:
        """From the mean test loss in nats and the share of hidden bytes found."""
        return {"masked_text.loss": loss, "masked_text.accuracy": correct}

    def describe(self) -> Mapping[str, Any]:
        """The corpus, and the loss of a model that knows only how often each byte occurs."""
        return self.text.describe()

    def _hide(self, tokens: Tensor, *stream: int) -> tuple[Tensor, Tensor]:
        """As many bytes in each sequence, at random places, at least one: [B, T] twice."""
        count = max(1, round(self.task.mask_share * tokens.shape[1]))
        order = np.random.default_rng(stream).random(tokens.shape)
        hidden = torch.from_numpy(order.argsort(axis=1) < count)
        return tokens.masked_fill(hidden, MASK), tokens.masked_fill(~hidden, IGNORED)
