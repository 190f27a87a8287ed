"""Which papers the catalogue carries, held against the list of papers that it is meant to cover.

The list is ``papers.json``: title, tier (1 is wanted first), what a paper is good for, and the axes
and options that it offers. A part names its papers by the same title, and that is the only link.
"""

import difflib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

from pydantic import Field, TypeAdapter

from nas.search_spaces.base import Model
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.patterns import PATTERNS

_FILE = Path(__file__).parent / "papers.json"
_ALIKE = 0.9
"""From this likeness on (1 is equal) two titles are taken for spellings of one."""
State: TypeAlias = Literal["carried", "in part", "no part yet", "not a part of a space"]
Tier = Annotated[int, Field(ge=1, le=3)]


class ListedPaper(Model):
    """A paper of the list."""

    title: str
    tier: Tier | None
    """1 is wanted first; None offers nothing to choose in a space."""
    roles: tuple[str, ...]
    """What it is good for: space, objective, evaluator, task, deploy, study."""
    axes: tuple[str, ...]
    """The choices to which it adds options."""
    options: tuple[str, ...]

    @property
    def of_a_space(self) -> bool:
        """Whether a part can carry it."""
        return self.tier is not None and "space" in self.roles


class PaperEntry(Model):
    """A paper, the parts that carry it, and what of it is missing."""

    title: str
    link: str | None
    """None while no part carries it."""
    tier: Tier | None
    roles: tuple[str, ...]
    axes: tuple[str, ...]
    options: tuple[str, ...]
    parts: tuple[str, ...]
    """As slot/kind."""
    state: State
    missing: tuple[str, ...]
    """What is left out, with the part that says so."""


class _Carried(NamedTuple):
    part: str
    link: str
    left_out: str


@cache
def listed_papers() -> tuple[ListedPaper, ...]:
    """The list, by tier and title."""
    text = _FILE.read_text(encoding="utf-8")
    return TypeAdapter(tuple[ListedPaper, ...]).validate_json(text)


def papers(*, tier: int | None = None, missing: bool = False) -> tuple[PaperEntry, ...]:
    """Every paper of the list, then those that parts name besides, each with its parts.

    `tier` keeps one tier; `missing` keeps papers of which a space lacks something.
    """
    carried = _carried()
    listed = listed_papers()
    extra = sorted(carried.keys() - {paper.title for paper in listed})
    found = [_entry(paper, carried.get(paper.title, [])) for paper in listed]
    found += [
        _entry(ListedPaper(title=title, tier=None, roles=(), axes=(), options=()), carried[title])
        for title in extra
    ]
    return tuple(
        entry
        for entry in found
        if (tier is None or entry.tier == tier)
        and (not missing or entry.state in ("in part", "no part yet"))
    )


def summary(entries: Sequence[PaperEntry]) -> str:
    """How many of some papers are in each state."""
    counts = Counter(entry.state for entry in entries)
    return f"{len(entries)} papers: " + ", ".join(
        f"{counts[state]} {state}" for state in get_args(State)
    )


def near_title(title: str) -> str | None:
    """The listed title that a slightly different one probably means; None for an equal one too."""
    by_key = {_key(paper.title): paper.title for paper in listed_papers()}
    if title in by_key.values():
        return None
    key = _key(title)
    for other in by_key:
        short, long = sorted((key, other), key=len)
        if long.startswith(f"{short} ") and len(short.split()) > 1:  # a subtitle more or less
            return by_key[other]
    near = difflib.get_close_matches(key, by_key, 1, _ALIKE)
    return by_key[near[0]] if near else None


def _carried() -> dict[str, list[_Carried]]:
    """Title -> the parts and layer patterns that name it."""
    found: dict[str, list[_Carried]] = {}
    for slot, parts in SLOTS.items():
        for kind, part in parts.items():
            for source in part.papers:
                carried = _Carried(f"{slot}/{kind}", source.link, source.left_out)
                found.setdefault(source.title, []).append(carried)
    for pattern in PATTERNS:
        for source in pattern.papers:
            carried = _Carried(f"patterns/{pattern.name()}", source.link, source.left_out)
            found.setdefault(source.title, []).append(carried)
    return found


def _entry(paper: ListedPaper, carried: list[_Carried]) -> PaperEntry:
    missing = tuple(f"{by.part}: {by.left_out}" for by in carried if by.left_out)
    return PaperEntry(
        **paper.model_dump(),
        link=carried[0].link if carried else None,
        parts=tuple(by.part for by in carried),
        state=_state(paper, carried),
        missing=missing,
    )


def _state(paper: ListedPaper, carried: list[_Carried]) -> State:
    if carried:
        return "in part" if any(by.left_out for by in carried) else "carried"
    return "no part yet" if paper.of_a_space else "not a part of a space"


def _key(title: str) -> str:
    """A title without what spellings differ in."""
    letters = "".join(letter if letter.isalnum() else " " for letter in title.lower())
    return " ".join(letters.split())
