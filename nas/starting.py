"""What a new study is filled in with before it is stored, so that what is stored stands alone."""

import json
from collections.abc import Sequence

from nas.choosing import expected_trials
from nas.errors import BadInput, NotFound, Problem
from nas.origins import FirstCandidate, FromStudy
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store
from nas.study import StudySpec
from nas.validation import parse
from nas.warmstart import source, taken

CONTROL_SHARE = 0.1
LEAST_FOR_CONTROL = 20
"""Trials of the budget. Below, a tenth would be one trial, which tells nothing."""


def completed(spec: StudySpec, store: Store) -> StudySpec:
    """The study with the control arm that it gets unless it says otherwise, and with the candidates
    that it takes from other studies.

    Raises BadInput where another study does not exist, or does not fit this one.
    """
    first = tuple(_found(store, each, f"first.{i}") for i, each in enumerate(spec.first))
    given = {"control_arm": _share(spec), "first": first}
    full = spec.model_copy(update=given)
    if first != spec.first:  # they have to fit the task, which only the whole study knows
        full = parse(StudySpec, json.loads(full.model_dump_json()))
    for index in range(len(spec.warm_start)):
        taken(store, full, index)
    return full


def as_before(spec: StudySpec, stored: StudySpec) -> StudySpec:
    """The stored study where the same is asked for again, though its sources may have changed;
    else what is asked for now."""
    asked = spec.model_copy(update={"control_arm": _share(spec)})
    same = _as_asked(asked.first) == _as_asked(stored.first)
    return stored if same and asked.model_copy(update={"first": stored.first}) == stored else asked


def _share(spec: StudySpec) -> float:
    if spec.control_arm is not None:
        return spec.control_arm
    return CONTROL_SHARE if expected_trials(spec) >= LEAST_FOR_CONTROL else 0.0


def _as_asked(first: Sequence[FirstCandidate]) -> list[FirstCandidate]:
    return [
        each.model_copy(update={"found": ()}) if isinstance(each, FromStudy) else each
        for each in first
    ]


def _found(store: Store, given: FirstCandidate, path: str) -> FirstCandidate:
    if not isinstance(given, FromStudy) or given.found:
        return given
    return given.model_copy(update={"found": _architectures(store, given, path)})


def _architectures(store: Store, given: FromStudy, path: str) -> tuple[Architecture, ...]:
    from nas.fronts import front_of

    other = source(store, given.study, f"{path}.study")
    numbers = [given.trial] if given.trial is not None else []
    if given.front:
        numbers = [*front_of(store, other.name, other.objectives, other.limits)[1]]
        if not numbers:
            raise BadInput.at(
                f"{path}.front",
                f"study {other.name!r} has no complete trial, so no front",
                accepted="a study with complete trials",
            )
    try:
        ids = [store.trial(other.name, number).architecture for number in numbers]
    except NotFound as error:
        raise BadInput(
            error.message, [Problem(f"{path}.trial", error.message, given.trial)]
        ) from None
    return tuple(store.architecture(each) for each in ids)
