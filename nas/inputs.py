"""What a user's file holds: a study, a space or an architecture, told by its fields."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from nas.errors import BadInput
from nas.record import TrialState
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RecordingDraw, ReplayDraw, UnansweredAxis
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import expand_preset
from nas.store.base import TrialQuery
from nas.study import StudySpec
from nas.validation import parse
from nas.views import Validation

LARGEST_FILE = 4 * 2**20


def read_file(path: Path) -> Any:
    """The data of a YAML or JSON file, an architecture that a space keeps parts of read in as well.
    Raises BadInput saying where the file goes wrong."""
    return _with_kept(_load(path), path.parent)


def _with_kept(data: Any, folder: Path) -> Any:
    """A study or a space in which ``keep.from`` is data; a path starts at the file's folder."""
    if not isinstance(data, Mapping):
        return data
    if "space" in data:
        return {**data, "space": _with_kept(data["space"], folder)}
    keep = data.get("keep")
    if not isinstance(keep, Mapping) or not isinstance(keep.get("from"), str):
        return data
    place = folder / keep["from"]
    file = place / "architecture.json" if place.is_dir() else place
    return {**data, "keep": {**keep, "from": _load(file)}}


def _load(path: Path) -> Any:
    import yaml

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path} has {path.stat().st_size:,} bytes; 4 MiB is the most")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text: {error}") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is neither YAML nor JSON: {error}") from None


def what_is(data: Any) -> Validation:
    """Checks a study, a space or an architecture. Raises BadInput with the path of each mistake."""
    if not isinstance(data, Mapping):
        raise BadInput.at(
            "",
            "expected an object",
            given=data,
            accepted="a study (with objectives), an architecture (with layers), or a space",
        )
    if "objectives" in data or "space" in data:
        spec = parse(StudySpec, data)
        return _space_summary("study", spec.space, f"study {spec.name}: ")
    if "layers" in data:
        architecture = parse(Architecture, data)
        params = architecture.cost(1).params
        summary = f"{architecture.depth} layers of width {architecture.dim}, {params:,} parameters"
        return Validation(what="architecture", summary=summary, id=architecture.id)
    return _space_summary("space", space_in(data), "")


def space_in(data: Any) -> SearchSpace:
    """A space from its data, a preset filled in. Raises BadInput."""
    try:
        expanded = expand_preset(data)
    except ValueError as error:
        raise BadInput(str(error)) from None
    return parse(SearchSpace, expanded)


def architecture_in(data: Any) -> Architecture:
    """An architecture from its data, or from a space that leaves nothing to choose.

    Raises BadInput naming the open questions.
    """
    if isinstance(data, Mapping) and "layers" in data:
        return parse(Architecture, data)
    space = space_in(data)
    try:
        return space.decode(RecordingDraw(ReplayDraw({})))
    except UnansweredAxis:
        questions = ", ".join(space.axes)
        raise BadInput(
            f"this space leaves something to choose ({questions}); give an architecture, "
            "or a space with a single value for each"
        ) from None


def _space_summary(what: str, space: SearchSpace, lead: str) -> Validation:
    axes = {
        name: {key: value for key, value in asdict(axis).items() if key != "name"}
        for name, axis in space.axes.items()
    }
    return Validation(what=what, summary=f"{lead}{len(axes)} questions", axes=axes)


def trial_query(
    states: list[str], sort: str, descending: bool, offset: int, count: int
) -> TrialQuery:
    """A query from what was typed. Raises BadInput for a state that does not exist."""
    known = get_args(TrialState)
    for state in states:
        if state not in known:
            raise BadInput.at(
                "state", "there is no such state", given=state, accepted=", ".join(known)
            )
    return TrialQuery(
        states=tuple(TypeAdapter(tuple[TrialState, ...]).validate_python(states)),
        sort=sort,
        descending=descending,
        offset=offset,
        count=count,
    )
