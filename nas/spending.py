"""What a candidate's trainings cost, in tokens and in floating-point operations.

The tokens are those of whole steps (``evaluators.schedule.batching``), so they may differ a little
from what a rung asks for. Operations are in closed form: a training step costs three times a
forward pass over its tokens, since the backward pass takes twice the forward one (Kaplan et al.,
Scaling Laws for Neural Language Models, arXiv 2001.08361, section 2.1). The forward pass is counted
as an architecture's cost counts it, at the length of the task's sequences. Neither scoring on
held-out data nor the optimiser is counted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nas.evaluators.tasks.base import Task
from nas.pauses import stretch
from nas.rungs import Training
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import Model

BACKWARD = 2
"""Operations of a backward pass over those of the forward pass."""


class Cost(NamedTuple):
    """Of trainings."""

    tokens: int = 0
    flops: float = 0.0


class Spending(Model):
    """What one evaluation trained, whatever became of it. Kept in the order in which they ended."""

    number: int
    """Of the trial; below 0 for the control, which is none."""
    repeat: int = 0
    """Counts further seeds of a trial."""
    stages: tuple[str, ...]
    """The trainings that were begun. One that failed counts as a whole: nobody knows how far it
    came."""
    train_tokens: int
    train_flops: float


def tokens_of(
    trainings: Sequence[Training],
    tasks: Sequence[Task],
    stages: Iterable[str] | None = None,
    *,
    resume: bool = False,
) -> int:
    """Tokens that any candidate is trained on in some stages; None is in all of them. With `resume`
    a rung goes on where the one before it stopped."""
    return sum(tokens for _, tokens in _each(trainings, tasks, stages, resume))


def cost_of(
    architecture: Architecture,
    trainings: Sequence[Training],
    tasks: Sequence[Task],
    stages: Iterable[str] | None = None,
    *,
    resume: bool = False,
) -> Cost:
    """What some stages cost for one architecture; None is all that train. `resume` is as above."""
    forward = {task.kind: architecture.cost(task.tokens_per_sequence).flops for task in tasks}
    each = list(_each(trainings, tasks, stages, resume))
    flops = sum((1 + BACKWARD) * forward[kind] * tokens for kind, tokens in each)
    return Cost(sum(tokens for _, tokens in each), float(flops))


def total(spendings: Iterable[Spending]) -> Cost:
    """All of them together."""
    listed = list(spendings)
    return Cost(sum(s.train_tokens for s in listed), sum(s.train_flops for s in listed))


def _each(
    trainings: Sequence[Training],
    tasks: Sequence[Task],
    stages: Iterable[str] | None,
    resume: bool,
) -> Iterable[tuple[str, int]]:
    """(kind of task, tokens) of every training in some stages."""
    wanted = None if stages is None else set(stages)
    lengths = {task.kind: task.tokens_per_sequence for task in tasks}
    for training in trainings:
        if wanted is None or training.stage in wanted:
            for kind in training.tasks:
                part = stretch(trainings, training, kind, lengths[kind], resume=resume)
                steps = part.stop - part.start
                yield kind, steps * part.whole.sequences * lengths[kind]
