"""A study's space changes: what is new, and where everything that was proposed before stands."""

import json
from collections.abc import Iterable
from typing import Any

from nas.driver.budget import BudgetKeeper
from nas.errors import BadInput, Conflict
from nas.locating import answers_of
from nas.record import SpaceVersion, Standing, StudyRecord
from nas.search_spaces.answering import blocker, why_not
from nas.search_spaces.axes import Scalar
from nas.search_spaces.changes import changes_between
from nas.search_spaces.space import SearchSpace
from nas.store.base import Asked, Store
from nas.store.encoding import now
from nas.study import StudySpec
from nas.views import SpaceVersionView


def change_space(store: Store, record: StudyRecord, before: StudySpec, spec: StudySpec) -> None:
    """Writes the space of `spec` down as the next version of the study's.

    The study must not be running. Raises Conflict where its budget is spent, so that nothing more
    could be tried, and BadInput where the space is the one that it has.
    """
    if spent := _spent(before, record):
        raise Conflict(
            f"study {record.name!r} is {record.state}: {spent}, and a changed space would not be "
            "searched; start a new study"
        )
    old, new = (each.space.model_dump(mode="json") for each in (before, spec))
    if old == new:
        raise BadInput(
            f"this is the space that study {record.name!r} has already (version "
            f"{record.space_version})"
        )
    log = store.log(record.name)
    version = SpaceVersion(
        version=record.space_version + 1,
        at=now(),
        entries=len(log),
        space=new,
        changes=changes_between(old, new, before.space.axes, spec.space.axes),
        earlier=tuple(standings(store, spec.space, (e for e in log if isinstance(e, Asked)))),
    )
    store.change_space(record.name, spec.model_dump(mode="json"), version)


def standings(store: Store, space: SearchSpace, asked: Iterable[Asked]) -> Iterable[Standing]:
    """Where proposals stand in another space; an architecture that comes again is looked for
    once."""
    found: dict[tuple[str, str], Standing] = {}
    for entry in asked:
        number, answers = entry.proposal.number, entry.proposal.answers
        key = (entry.architecture, json.dumps(answers, sort_keys=True))
        if key not in found:
            found[key] = _standing(store, space, entry.architecture, answers)
        yield found[key].model_copy(update={"number": number})


def _standing(store: Store, space: SearchSpace, id: str, answers: dict[str, Scalar]) -> Standing:
    wrong = why_not(space, answers, id)
    if wrong is None:
        return Standing(number=0, architecture=id, answers=answers, recorded=True)
    other = answers_of(space, store.architecture(id), answers)
    axis, reason = (None if other is not None else blocker(space, answers)) or wrong
    return Standing(
        number=0,
        architecture=id,
        answers=other,
        recorded=False,
        axis=axis or None,
        reason=reason,
    )


def _spent(spec: StudySpec, record: StudyRecord) -> str | None:
    return BudgetKeeper(spec.budget, trials=record.trials, seconds=record.seconds).spent()


def with_space(spec: StudySpec, data: Any) -> dict[str, Any]:
    """The study as data, with another space."""
    return {**spec.model_dump(mode="json"), "space": data}


def versions_of(store: Store, name: str) -> tuple[SpaceVersionView, ...]:
    """All versions of a study's space, oldest first."""
    found = store.space_versions(name)
    asked = [isinstance(entry, Asked) for entry in store.log(name)]
    ends = [version.entries for version in found[1:]] + [len(asked)]
    return tuple(
        _view(name, version, sum(asked[version.entries : end]))
        for version, end in zip(found, ends, strict=True)
    )


def _view(study: str, version: SpaceVersion, proposals: int) -> SpaceVersionView:
    held = [standing for standing in version.earlier if standing.answers is not None]
    return SpaceVersionView(
        study=study,
        version=version.version,
        at=version.at,
        space=version.space,
        changes=version.changes,
        proposals=proposals,
        valid=sum(standing.recorded for standing in held),
        translated=sum(not standing.recorded for standing in held),
        invalid=tuple(s for s in version.earlier if s.answers is None),
    )
