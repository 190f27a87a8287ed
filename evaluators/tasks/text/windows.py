"""What tasks on a text have in common: which text, and which of it is held out."""

from typing import Annotated

from pydantic import Field

from nas.errors import BadInput
from nas.evaluators.tasks.base import Task
from nas.evaluators.tasks.text import corpus
from nas.search_spaces.base import Count


class TextTask(Task):
    """A task on windows of a text, as bytes."""

    corpus: Annotated[str, Field(strict=True, min_length=1)] = corpus.STDLIB
    """``python-stdlib``, the source of the running Python's standard library, or the path of a file
    or folder of UTF-8 text."""
    context: Count = 256
    """Bytes in a training sequence."""
    test_share: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Part of the text that is held out."""
    test_tokens: Count = 32_768
    """Held-out bytes on which a candidate is scored, at most."""

    @property
    def tokens_per_sequence(self) -> int:
        return self.context

    @property
    def shortest(self) -> int:
        """Bytes of the shortest corpus that gives one window to train on and one to test on."""
        return 2 * (self.context + 1)

    def check(self) -> None:
        self.check_length(sum(len(piece) for piece in corpus.read(corpus.find(self.corpus))))

    def check_length(self, length: int) -> None:
        """Raises BadInput for a corpus that is empty or too short for the context."""
        if length >= self.shortest:
            return
        said = "is empty" if length == 0 else f"has only {length} bytes"
        raise BadInput.at(
            "task.corpus",
            f"the corpus {said}; a context of {self.context} needs {self.shortest} bytes or more",
            given=self.corpus,
            accepted=corpus.ACCEPTED,
        )
