"""Where the training rungs of a study pause, when they are stretches of one training for each task.

The one training of a task is that of its longest rung: its batches, its schedule, its steps. A
shorter rung stops it after the step at which its own tokens are spent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.evaluators.schedule import Batching, batching, steps_for
from nas.rungs import Training


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one rung trains of one task."""

    whole: Batching
    """The training that it belongs to."""
    start: int
    """Steps that earlier rungs have made."""
    stop: int
    """Steps made in all when the rung is over."""

    @property
    def is_last(self) -> bool:
        """Whether the training is over then."""
        return self.stop == self.whole.steps


def stretch(
    trainings: Sequence[Training], training: Training, kind: str, context: int, *, resume: bool
) -> Stretch:
    """The stretch of `training` on the task `kind` with `context` tokens in a sequence.
    `trainings` are all training rungs of the study. Without `resume` it is a training of its own.
    """
    if not resume:
        own = batching(training.tokens, context)
        return Stretch(own, 0, own.steps)
    tokens = [each.tokens for each in trainings if kind in each.tasks]
    whole = batching(max(tokens), context)
    earlier = max((count for count in tokens if count < training.tokens), default=0)
    start = steps_for(earlier, whole, context) if earlier else 0
    return Stretch(whole, start, steps_for(training.tokens, whole, context))


def wrong_pauses(trainings: Sequence[Training], contexts: Mapping[str, int]) -> str | None:
    """Why the trainings of a study cannot be paused, with a path, or None. `contexts` are tokens in
    a sequence by kind of task; `trainings` hold each task in ascending order of tokens."""
    rungs = {kind: sum(kind in each.tasks for each in trainings) for kind in contexts}
    if max(rungs.values(), default=0) < 2:
        return (
            "resume: no task of this study is trained by two rungs, so no training would go on "
            "from another; add a training rung with fewer tokens, or leave resume out"
        )
    for training in trainings:
        for kind in training.tasks:
            found = stretch(trainings, training, kind, contexts[kind], resume=True)
            if found.start == found.stop:
                return _no_step(training, kind, found, contexts[kind])
    return None


def _no_step(training: Training, kind: str, found: Stretch, context: int) -> str:
    size = found.whole.sequences * context
    return (
        f"rungs: {training.stage} would train {kind} no further than the rung before it, which "
        f"ends after step {found.start}: with resume, a step of {kind} is {size} tokens, as in its "
        f"longest training; accepted: a multiple of {size} tokens, {size} or more apart"
    )
