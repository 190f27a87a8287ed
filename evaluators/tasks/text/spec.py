"""Byte-level language modelling on any text."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.evaluators.base import Metric
from nas.evaluators.tasks.text.windows import TextTask
from nas.search_spaces.base import Flag, Source

if TYPE_CHECKING:
    from nas.evaluators.tasks.text.data import TextData
    from nas.evaluators.tasks.text.documents import DocumentData


class Text(TextTask):
    """Predict each byte of a text from the bytes before it; the vocabulary is the 256 bytes."""

    papers = (
        Source(
            "Character-Level Language Modeling with Deeper Self-Attention",
            "https://arxiv.org/abs/1808.04444",
        ),
    )
    example = {"kind": "text", "corpus": "python-stdlib", "context": 256}

    kind: Literal["text"] = "text"
    vocab: Literal[256] = 256
    documents: Flag = False
    """Whether each file is a document, longer ones in pieces: rows are filled with documents, and
    nothing is carried from one to the next. Otherwise windows are cut out wherever they fall."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("text.loss", "nats", "minimize", "train", "held-out cross-entropy per byte"),
            Metric("text.bits_per_byte", "bits", "minimize", "train", "the same in bits"),
            Metric(
                "text.accuracy", "ratio", "maximize", "train", "held-out bytes predicted exactly"
            ),
        )

    def check(self) -> None:
        super().check()
        if self.documents:
            self.open(0)

    def open(self, seed: int, cache: Path | None = None) -> "TextData | DocumentData":
        from nas.evaluators.tasks.text.data import open_text
        from nas.evaluators.tasks.text.documents import open_documents

        return open_documents(self, seed, cache) if self.documents else open_text(self, seed, cache)
