"""What to say when something is not in the store, or is there already."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from nas.errors import Conflict, NotFound

SHOWN = 5
"""Names or ranges listed in one message."""


def no_study(name: str, names: Sequence[str]) -> NotFound:
    """A study that is not there; `names` are those that are."""
    return NotFound(f"there is no study {name!r}; {_near(name, names, 'study')}")


def no_architecture(id: str, ids: Sequence[str]) -> NotFound:
    """An architecture that is not there; `ids` are those that are, or the likely ones."""
    return NotFound(f"there is no architecture {id!r}; {_near(id, ids, 'architecture')}")


def no_environment(id: str, ids: Sequence[str]) -> NotFound:
    """An environment that is not there; `ids` are those that are."""
    return NotFound(f"there is no environment {id!r}; {_near(id, ids, 'environment')}")


def no_device(key: str, keys: Sequence[str]) -> NotFound:
    """A device that is not there; `keys` are those that are."""
    return NotFound(f"there is no device {key!r}; {_near(key, keys, 'device')}")


def no_trial(study: str, number: int, numbers: Iterable[int]) -> NotFound:
    """A trial that is not there; `numbers` are the finished ones."""
    ranges = _ranges(sorted(numbers))
    if not ranges:
        return NotFound(f"study {study!r} has no trial {number}: none has finished yet")
    more = f" and {len(ranges) - SHOWN} more ranges" if len(ranges) > SHOWN else ""
    there = ", ".join(ranges[:SHOWN]) + more
    return NotFound(f"study {study!r} has no finished trial {number}; it has {there}")


def name_taken(name: str) -> Conflict:
    """A new study with the name of an old one."""
    return Conflict(
        f"a study named {name!r} exists already; choose another name, resume it, or delete it first"
    )


def key_used(key: str, name: str) -> Conflict:
    """An idempotency key that comes again with another study."""
    return Conflict(
        f"the idempotency key {key!r} was used to create study {name!r} from another request; "
        "send a new key with a new study"
    )


def space_moved_on(study: str) -> Conflict:
    """A version of a space that was drawn up for a study as it is no more."""
    return Conflict(f"study {study!r} went on while its space was being changed; try again")


def asked_already(study: str, number: int) -> Conflict:
    """A proposal under a number that another one has."""
    return Conflict(f"study {study!r} has a proposal {number} already; numbers count up from 0")


def finished_already(study: str, number: int) -> Conflict:
    """A trial that is finished a second time."""
    return Conflict(f"trial {number} of study {study!r} is finished already; it is written once")


def not_stopped(study: str, number: int, state: str) -> Conflict:
    """A trial that is to go on and has finished."""
    return Conflict(
        f"trial {number} of study {study!r} is {state}; only one that was stopped can go on"
    )


def _near(name: str, names: Sequence[str], what: str) -> str:
    if not names:
        return f"no {what} is stored"
    close = get_close_matches(name, names, n=3)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "there are: " + ", ".join(names[:SHOWN]) + rest


def _ranges(numbers: Sequence[int]) -> list[str]:
    """``[0, 1, 2, 5]`` is ``["0 to 2", "5"]``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [str(low) if low == high else f"{low} to {high}" for low, high in runs]
