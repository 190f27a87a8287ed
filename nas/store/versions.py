"""Versions of spaces to rows of ``versions.sql`` and back. No database here."""

import json
from typing import Any

from nas.record import SpaceVersion, StudyRecord
from nas.search_spaces.changes import SpaceChanges
from nas.store import rows

TABLES = ("space_version",)
COLUMNS = "version, epoch_us(begun), entries, space, changes, earlier"


def first(study: StudyRecord) -> SpaceVersion:
    """The version of a study whose space was never changed."""
    space = study.spec.get("space", {})
    changes = SpaceChanges()
    return SpaceVersion(version=1, at=study.created, entries=0, space=space, changes=changes)


def row(study: str, version: SpaceVersion) -> rows.Row:
    """A row of the table ``space_version``."""
    plain = version.model_dump(mode="json")
    data = (json.dumps(plain[name]) for name in ("space", "changes", "earlier"))
    return (study, version.version, version.at, version.entries, *data)


def read(found: rows.Row) -> SpaceVersion:
    """A row of the columns `COLUMNS`."""
    version, at, entries, space, changes, earlier = found
    return SpaceVersion(
        version=version,
        at=rows.read_time(at),
        entries=entries,
        space=json.loads(space),
        changes=SpaceChanges.model_validate_json(changes),
        earlier=json.loads(earlier),
    )


def event(version: SpaceVersion) -> dict[str, Any]:
    """What the ``space`` event says."""
    outside = [standing.number for standing in version.earlier if standing.answers is None]
    return {
        "version": version.version,
        "changes": version.changes.model_dump(mode="json"),
        "outside": outside,
    }
