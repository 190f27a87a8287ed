"""The rungs of a study: what a candidate goes through, from free to dear.

Closed-form limits come before any rung, without being asked for. A rung is a stage of the
evaluator; a candidate that fails at one or breaks a limit there goes no further.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from nas.search_spaces.base import Count, Model


class _Rung(Model):
    """What all rungs have."""

    decides: dict[str, str] | None = None
    """With `StudySpec.promotion`: which metric of this rung stands for an objective when it is
    decided who goes on, ``{text.loss: score.synflow}``. None: a training decides for the objectives
    that it measures, any other rung does not decide; ``{}``: it does not decide."""


class StepsRung(_Rung):
    """A few training steps: are loss and gradients finite, and how fast do they go?"""

    kind: Literal["steps"] = "steps"
    steps: Annotated[int, Field(strict=True, ge=1, le=1000)] = 4
    """Of the size that the last training takes, on the first task."""


class ScoresRung(_Rung):
    """Training-free scores of the first weights, on the first task."""

    kind: Literal["scores"] = "scores"


class LatencyRung(_Rung):
    """Time and memory on the target."""

    kind: Literal["latency"] = "latency"
    how: Literal["measured", "composed"] = "measured"
    """``composed`` adds up the measured times of its parts, with an interval, and measures a whole
    candidate only where the interval could decide a limit or the front."""


class TrainRung(_Rung):
    """Training, scored on held-out data: from the first weights, or in a study with ``resume`` from
    where the rung before stopped."""

    kind: Literal["train"] = "train"
    tokens: Count
    """To train on, for each task."""
    task: str | None = None
    """The kind of one task of the study; None is each of them in turn."""


AnyRung: TypeAlias = Annotated[
    StepsRung | ScoresRung | LatencyRung | TrainRung, Field(discriminator="kind")
]


@dataclass(frozen=True, slots=True)
class Training:
    """One training rung, told apart from the others of its study."""

    stage: str
    """``train`` where it is the only one; else ``train.recall@20000``."""
    tokens: int
    tasks: tuple[str, ...]
    """Kinds."""
    suffixes: tuple[str, ...]
    """For each task: empty where the task is trained no longer than here, else ``@20000tokens``,
    which its metrics carry."""


def stage_names(rungs: Sequence[AnyRung]) -> tuple[str, ...]:
    """The stage of each rung, in order."""
    alone = sum(isinstance(rung, TrainRung) for rung in rungs) == 1
    return tuple(_stage(rung, alone) for rung in rungs)


def trainings(rungs: Sequence[AnyRung], tasks: Sequence[str]) -> tuple[Training, ...]:
    """The training rungs in order. `tasks` are the kinds of the study's tasks."""
    found = [rung for rung in rungs if isinstance(rung, TrainRung)]
    longest = {
        kind: max((r.tokens for r in found if r.task in (None, kind)), default=0) for kind in tasks
    }

    def training(rung: TrainRung) -> Training:
        own = tuple(tasks) if rung.task is None else (rung.task,)
        suffixes = tuple("" if rung.tokens == longest[k] else f"@{rung.tokens}tokens" for k in own)
        return Training(_stage(rung, len(found) == 1), rung.tokens, own, suffixes)

    return tuple(training(rung) for rung in found)


def wrong_rungs(rungs: Sequence[AnyRung], tasks: Sequence[str]) -> tuple[str, str] | None:
    """(path, what is wrong) for the first rung that makes no sense, or None."""
    seen: set[str] = set()
    reached = dict.fromkeys(tasks, 0)
    for index, (rung, stage) in enumerate(zip(rungs, stage_names(rungs), strict=True)):
        path = f"rungs.{index}"
        if stage in seen:
            return path, f"{stage} stands there twice; once is enough"
        seen.add(stage)
        if not isinstance(rung, TrainRung):
            continue
        if rung.task is not None and rung.task not in tasks:
            return (
                f"{path}.task",
                f"this study has no task {rung.task!r}; it has: {', '.join(tasks)}",
            )
        for kind in tasks if rung.task is None else (rung.task,):
            if rung.tokens <= reached[kind]:
                return (
                    f"{path}.tokens",
                    f"an earlier rung trains {kind} on {reached[kind]} tokens already; rungs go "
                    f"from cheap to dear, so more than {reached[kind]} are needed",
                )
            reached[kind] = rung.tokens
    if not reached or min(reached.values()) == 0:
        missing = ", ".join(kind for kind, tokens in reached.items() if not tokens)
        return "rungs", f"no rung trains {missing}; add {{kind: train, tokens: N}}"
    return None


def _stage(rung: AnyRung, alone: bool) -> str:
    if not isinstance(rung, TrainRung) or alone:
        return rung.kind
    return f"train{f'.{rung.task}' if rung.task else ''}@{rung.tokens}"
