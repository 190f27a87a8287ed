"""Why recorded answers do not stand for their architecture in another version of a space."""

from collections.abc import Mapping

from nas.search_spaces.axes import RecordingDraw, ReplayDraw, Scalar, UnansweredAxis
from nas.search_spaces.changes import answers_in_words
from nas.search_spaces.space import SearchSpace


def why_not(space: SearchSpace, answers: Mapping[str, Scalar], id: str) -> tuple[str, str] | None:
    """(axis, reason) where recorded answers do not stand for the architecture `id` in a space; the
    axis is empty where they stand for another one. None where they do."""
    try:
        found = space.decode(RecordingDraw(ReplayDraw(answers)))
    except UnansweredAxis as missing:
        axis = str(missing)
        if axis in answers:
            return axis, f"{answers[axis]!r} is no answer to {axis!r} any more"
        return axis, f"the question {axis!r} was not asked then"
    return None if found.id == id else ("", f"the answers now stand for architecture {found.id}")


def blocker(space: SearchSpace, answers: Mapping[str, Scalar]) -> tuple[str, str] | None:
    """(axis, reason) of the first recorded answer that a space no longer takes, where it shows."""
    for axis, answer in answers.items():
        if axis in space.axes and not space.axes[axis].contains(answer):
            accepted = answers_in_words(space.axes[axis])
            return axis, f"{answer!r} is no answer to {axis!r} any more; accepted: {accepted}"
    gone = [axis for axis in answers if axis not in space.axes]
    if gone:
        listed = ", ".join(f"{axis} = {answers[axis]}" for axis in gone)
        return gone[0], f"not asked any more, and fixed at something else: {listed}"
    return None
