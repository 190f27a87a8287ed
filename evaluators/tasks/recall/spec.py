"""Multi-query associative recall."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from nas.evaluators.base import Metric
from nas.evaluators.tasks.base import Task
from nas.search_spaces.base import Count, Flag, Source

if TYPE_CHECKING:
    from nas.evaluators.tasks.recall.data import RecallData


class Recall(Task):
    """Key-value pairs come first, then the keys again, far apart; each asks for its value."""

    papers = (
        Source(
            "Zoology: Measuring and Improving Recall in Efficient Language Models",
            "https://arxiv.org/abs/2312.04927",
        ),
    )
    example = {"kind": "recall", "vocab": 256, "context": 64, "pairs": 8}

    kind: Literal["recall"] = "recall"
    vocab: Count = 256
    """Half are keys, half are values; 8192 in the paper."""
    context: Count = 64
    """Tokens in a sequence."""
    pairs: Count = 8
    """Key-value pairs in a sequence, each asked for once."""
    random_fill: Flag = False
    """Whether the places between the queries hold random tokens instead of token 0."""
    test_sequences: Count = 512
    """Sequences on which a candidate is scored."""

    @model_validator(mode="after")
    def _fits(self) -> "Recall":
        if 4 * self.pairs > self.context:
            raise ValueError(
                f"context must be at least 4 x pairs: {self.pairs} pairs need a context of "
                f"{4 * self.pairs}, and the context is {self.context}"
            )
        if self.first_value - 1 < self.pairs:
            raise ValueError(
                f"vocab must be at least 2 x pairs + 2: {self.pairs} pairs with different "
                f"keys need {2 * self.pairs + 2}, and it is {self.vocab}"
            )
        return self

    @property
    def tokens_per_sequence(self) -> int:
        return self.context

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                "recall.accuracy", "ratio", "maximize", "train", "queries answered with their value"
            ),
            Metric("recall.loss", "nats", "minimize", "train", "cross-entropy per query"),
        )

    @property
    def first_value(self) -> int:
        """Keys are the tokens 1..first_value-1, values are first_value..vocab-1."""
        return self.vocab // 2

    @property
    def chance(self) -> float:
        """Share of queries answered right by drawing any value."""
        return 1 / (self.vocab - self.first_value)

    def check(self) -> None:
        """Nothing can be missing: the data is generated."""

    def open(self, seed: int, cache: Path | None = None) -> "RecallData":
        from nas.evaluators.tasks.recall.data import RecallData

        return RecallData(self, seed)
