"""What a study may start from: candidates to try first, and the trials of other studies."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from nas.evaluators.tasks.base import Task
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import ReplayDraw, UnansweredAxis
from nas.search_spaces.base import Flag, Model
from nas.search_spaces.legality import longest_input
from nas.search_spaces.published import published, published_names
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset, preset_names


class FromStudy(Model):
    """A trial of another study, or its whole front, as first candidates."""

    study: str
    trial: Annotated[int, Field(strict=True, ge=0)] | None = None
    front: Flag = False
    found: tuple[Architecture, ...] = ()
    """The architectures themselves, filled in when the study is created, so that it needs the other
    one no more."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "FromStudy":
        if (self.trial is None) == (not self.front):
            raise ValueError("give either a trial (its number) or front: true")
        return self


class WarmStart(Model):
    """Another study whose complete trials are known from the start."""

    study: str
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Metrics to take from there; None is all that objectives here need an evaluation for. What is
    in closed form is computed anew for this study's target."""


def _tag(given: Any) -> str:
    of_study = "study" in given if isinstance(given, Mapping) else isinstance(given, FromStudy)
    return "from_study" if of_study else "architecture"


FirstCandidate: TypeAlias = Annotated[
    Annotated[Architecture, Tag("architecture")] | Annotated[FromStudy, Tag("from_study")],
    Discriminator(_tag),
]


def expand_first(given: Any) -> Any:
    """First candidates with each ``{"preset": name, field: ...}`` replaced by its architecture.

    The preset is a published model, or a ready-made space that the further fields leave without a
    choice. Raises ValueError otherwise.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        return given
    return [
        _expanded(each, f"first.{index}") if isinstance(each, Mapping) else each
        for index, each in enumerate(given)
    ]


def _expanded(given: Mapping[str, Any], path: str) -> Any:
    if "preset" not in given:
        return given
    name, fields = given["preset"], {k: v for k, v in given.items() if k != "preset"}
    if name in published_names():
        base = published(name).space
    elif name in preset_names():
        base = preset(name)
    else:
        there = ", ".join(published_names())
        raise ValueError(
            f"{path}.preset: no published model is called {name!r}; there are: {there}"
        )
    try:
        return SearchSpace.model_validate({**base, **fields}).decode(ReplayDraw({}))
    except UnansweredAxis as question:
        raise ValueError(
            f"{path}.preset: {name!r} leaves something to choose ({question}); accepted: a "
            "published model, or a single value for each field of the preset"
        ) from None


def wrong_candidate(
    architecture: Architecture, tasks: Sequence[Task], family: str, longest: int
) -> str | None:
    """Says why an architecture cannot be trained in a study; None where it can. `longest` is the
    number of tokens that the study's tasks and target ask for."""
    if architecture.family != family:
        return f"family {architecture.family} and the space has {family}; accepted: family {family}"
    for task in tasks:
        if task.vocab > architecture.vocab:
            return (
                f"vocab {architecture.vocab} and task {task.kind} uses {task.vocab} tokens; "
                f"accepted: vocab {task.vocab} or more"
            )
        head = architecture.head
        if head.kind not in task.heads:
            trained = " or ".join(task.heads)
            return f"head {head.kind} and task {task.kind} trains a {trained} head"
        classes = getattr(head, "classes", None)
        if task.classes is not None and classes is not None and classes < task.classes:
            return f"head of {classes} classes and task {task.kind} has {task.classes}"
    bound = longest_input(architecture)
    if bound is not None and longest > bound[0]:
        return f"{bound[1]}.max_tokens {bound[0]} cannot hold {longest} tokens of task and target"
    return None
