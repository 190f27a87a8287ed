"""The inverse of ``decode``: which answers stand for an architecture?

Where the space has changed since an architecture was drawn, its answers are known under other
names, or a question is new whose answer was fixed before. ``answers_for`` finds them by decoding:
best first, by how many numbers and parts of the result differ from the architecture.
"""

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import (
    Answers,
    Axis,
    ForcedDraw,
    RecordingDraw,
    ReplayDraw,
    Scalar,
    UnansweredAxis,
)
from nas.search_spaces.changes import answers_in_words
from nas.search_spaces.patterns import PATTERNS
from nas.search_spaces.space import SearchSpace

DECODES = 120
"""Tried for one architecture at most; one takes some milliseconds."""
_PATTERNS = {pattern.name() for pattern in PATTERNS}
_NUMBERED = re.compile(r"-\d+$")
"""The label of an option whose kind comes more than once; it may move when options change."""


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


def answers_for(
    space: SearchSpace,
    member: Architecture,
    hints: Mapping[str, Scalar] | None = None,
    *,
    decodes: int = DECODES,
) -> Answers | None:
    """Answers for which the space decodes to `member`, or None where none were found.

    `hints` are answers in another version of the space; where a question of the same name accepts
    its answer, it keeps it. None is certain where the space lacks a part, a width or the like that
    the architecture has, or where all combinations of what is open were tried within `decodes`.
    """
    if not _may_hold(space, member):
        return None
    return _Search(space, member, hints or {}).run(decodes)


def _may_hold(space: SearchSpace, member: Architecture) -> bool:
    if (space.family, space.vocab) != (member.family, member.vocab):
        return False
    return set(_kinds(member.model_dump())) <= set(_kinds(space.model_dump()))


def _kinds(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        if isinstance(data.get("kind"), str):
            yield data["kind"]
        for inner in data.values():
            yield from _kinds(inner)
    elif isinstance(data, list | tuple):
        for inner in data:
            yield from _kinds(inner)


@dataclass(order=True)
class _Node:
    """Answers that were tried, of which the first `settled` questions are not asked again."""

    mismatch: int
    order: int
    settled: int = field(compare=False)
    record: RecordingDraw = field(compare=False)


class _Search:
    """Best first over the questions that the hints leave open."""

    def __init__(
        self, space: SearchSpace, member: Architecture, hints: Mapping[str, Scalar]
    ) -> None:
        self.space = space
        self.member = member
        self.hints = hints
        self.target = dict(_leaves(member.model_dump()))
        self.guess = _Guess(member, hints)
        self.made = 0

    def run(self, decodes: int) -> Answers | None:
        nodes = [self._node({}, 0)]
        while nodes:
            best = heapq.heappop(nodes)
            if best.mismatch == 0:
                return best.record.answers
            for node in self._children(best):
                if node.mismatch == 0:
                    return node.record.answers
                if self.made >= decodes:
                    return None
                heapq.heappush(nodes, node)
        return None

    def _children(self, node: _Node) -> Iterator[_Node]:
        """The other answers to the first open question, and the same one with it settled."""
        names = list(node.record.answers)
        open_ones = (i for i in range(node.settled, len(names)) if self._is_open(names[i], node))
        index = next(open_ones, None)
        if index is None:
            return
        before = {name: node.record.answers[name] for name in names[:index]}
        given = node.record.answers[names[index]]
        yield _Node(node.mismatch, node.order, index + 1, node.record)
        for answer in self.guess.candidates(node.record.axes[names[index]]):
            if answer != given:
                yield self._node({**before, names[index]: answer}, index + 1)

    def _is_open(self, name: str, node: _Node) -> bool:
        hint = self.hints.get(name)
        known = name in self.hints and node.record.axes[name].contains(hint)
        return not known or bool(_NUMBERED.search(str(hint)))

    def _node(self, forced: Answers, settled: int) -> _Node:
        record = RecordingDraw(ForcedDraw(forced, self.guess))
        found = self.space.decode(record)
        self.made += 1
        if found.id == self.member.id:
            return _Node(0, self.made, settled, record)
        leaves = dict(_leaves(found.model_dump()))
        paths = leaves.keys() | self.target.keys()
        differing = sum(leaves.get(path) != self.target.get(path) for path in paths)
        return _Node(max(1, differing), self.made, settled, record)


class _Guess:
    """Implements ``axes.Draw``: the likeliest answer, from the hints or from the architecture."""

    def __init__(self, member: Architecture, hints: Mapping[str, Scalar]) -> None:
        self.hints = hints
        self.endings = {_ending(name): answer for name, answer in reversed(list(hints.items()))}
        self.kinds = set(_kinds(member.model_dump()))
        self.numbers = {v for _, v in _leaves(member.model_dump()) if isinstance(v, int | float)}
        self.numbers.add(member.depth)
        self.whole: dict[str, Scalar] = {"depth": member.depth, "dim": member.dim}
        self.whole["tied"] = member.tied

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self._best(Axis(axis, options))

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        return int(self._best(Axis(axis, None, low, high, step, log)))  # type: ignore[arg-type]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        return float(self._best(Axis(axis, None, low, high, None, log)))  # type: ignore[arg-type]

    def candidates(self, axis: Axis) -> tuple[Scalar, ...]:
        """Answers worth trying: of a range, only numbers that the architecture has."""
        if axis.options is None:
            return (*self._members(axis), *axis.corners()[:1])
        labels = {option: _NUMBERED.sub("", str(option)) for option in axis.options}
        held = [option for option, label in labels.items() if label in self.kinds]
        patterns = [option for option, label in labels.items() if label in _PATTERNS]
        return (*held, *patterns) or axis.options

    def _best(self, axis: Axis) -> Scalar:
        name, ending = axis.name, _ending(axis.name)
        for known, key in ((self.whole, name), (self.hints, name), (self.endings, ending)):
            if key in known and axis.contains(known[key]):
                return known[key]
        candidates = self.candidates(axis)
        held = [c for c in candidates if c in self.numbers and not isinstance(c, bool)]
        return held[0] if held else candidates[0]

    def _members(self, axis: Axis) -> list[float]:
        found = (int(n) if axis.step is not None else float(n) for n in sorted(self.numbers))
        return [n for n in found if axis.contains(n)]


def _ending(name: str) -> str:
    """What a question is about, wherever it stands: ``mixer.attention.heads[2,4]`` is ``heads``."""
    return name.split("[")[0].rsplit(".", 1)[-1]


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is no container."""
    if isinstance(data, Mapping):
        for name, inner in data.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(data, list | tuple):
        for index, inner in enumerate(data):
            yield from _leaves(inner, f"{path}.{index}")
    else:
        yield path, data
