"""What a proxy task is: numbers that describe it, and data made from them. Specs are torch-free."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nas.evaluators.base import Metric
from nas.search_spaces.base import Model, Source

if TYPE_CHECKING:
    from torch import Tensor

    Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, tuple[tuple[int, ...], ...]]
    """Tokens int64 [sequences, context], and targets of the same shape, or [sequences] for a task
    that tells sequences apart; a target of -100 does not count. A third entry gives the lengths of
    the documents in each row, between which nothing is carried."""


class TaskData(Protocol):
    """Batches of one task. The same seed and index always give the same batch."""

    def train_batch(self, index: int, sequences: int) -> "Batch":
        """See `Batch`."""

    def test_batches(self, sequences: int) -> "Sequence[Batch]":
        """The same held-out batches for every candidate."""

    def score(self, loss: float, correct: float) -> Mapping[str, float]:
        """Metrics by name from the mean test loss in nats and the share of targets predicted."""

    def describe(self) -> Mapping[str, Any]:
        """What the numbers depend on: checksum of the corpus, sizes, chance level."""


class Task(Model, ABC):
    """A task that a proxy is trained on."""

    kind: str
    vocab: int
    """Tokens that the task uses: 0..vocab-1."""
    papers: ClassVar[tuple[Source, ...]] = ()
    example: ClassVar[dict[str, Any]]
    head: ClassVar[str] = "next_token"
    """The kind of head that it trains."""

    @property
    def classes(self) -> int | None:
        """Classes of a task that tells sequences apart; None for one that predicts tokens."""
        return None

    @property
    @abstractmethod
    def tokens_per_sequence(self) -> int:
        """Length T of a training sequence."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What a trained candidate is scored by."""

    @abstractmethod
    def check(self) -> None:
        """Raises BadInput, naming the field (``task.corpus``), if the data cannot be had."""

    @abstractmethod
    def open(self, seed: int, cache: Path | None = None) -> TaskData:
        """Loads or generates the data. Imports torch. `cache` is a folder whose files several
        processes share; without one everything is held in memory."""
