"""Members that a model may choose from: some uniform, some near the best that is known.

Members are bred from answers alone, so that conditional questions need no special care: an answer
that is taken away is drawn anew, and so is whatever hangs on it.
"""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from nas.pareto import Floats
from nas.samplers.base import Growing, Knowledge, MemberT, Space
from nas.samplers.uniform import generator_of
from nas.search_spaces.axes import Answers, Axis, Draw, RandomDraw, RecordingDraw, Scalar

COMMON = 200
"""Uniform members that every proposal considers; they are drawn once."""
FRESH = 40
"""Further uniform members for each proposal."""
BRED = 110
"""Members bred for each proposal."""
CROSSED = 0.3
"""Share of them with two parents."""
MOST_REDRAWN = 3
"""Answers of one parent that are drawn anew, at most."""
NEIGHBOURS = 40
"""Neighbours of the best that are looked at in each round of refinement."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[MemberT]):
    """A member with what is known of it."""

    member: MemberT
    answers: Answers
    features: Floats
    """[F]"""
    known: Floats
    """[M] objectives in their own directions; NaN where only an evaluation tells."""
    violation: float


class Pool(Generic[MemberT]):
    """Draws and breeds members. What it draws follows from the seed and the number of the
    proposal; what it keeps is a memory of what follows from the member alone."""

    def __init__(
        self,
        space: Space[MemberT],
        knowledge: Knowledge[MemberT],
        seed: int,
        *,
        breeds: bool = True,
    ) -> None:
        """Without `breeds`, uniform members stand in the place of children."""
        self.space, self.knowledge, self.seed = space, knowledge, seed
        self.breeds = breeds
        self._common: list[Choice[MemberT]] = []
        self._met: dict[str, tuple[Floats, Floats, float]] = {}
        self._growing = knowledge if isinstance(knowledge, Growing) else None
        self._edition = self._growing.edition if self._growing else 0

    @property
    def common(self) -> Sequence[Choice[MemberT]]:
        """The same uniform members for the whole study, each once."""
        self._keep_up()
        if not self._common:
            generator = generator_of(self.seed, 0, "pool")
            drawn = (self.uniform(generator) for _ in range(COMMON))
            self._common = list({choice.member.id: choice for choice in drawn}.values())
        return self._common

    def uniform(self, generator: random.Random) -> Choice[MemberT]:
        """One uniform member."""
        return self.complete({}, generator)

    def draw(self, draw: Draw) -> Choice[MemberT]:
        """The member that a draw leads to."""
        record = RecordingDraw(draw)
        return self.describe(self.space.decode(record), record.answers)

    def complete(self, answers: Mapping[str, Scalar], generator: random.Random) -> Choice[MemberT]:
        """The member with these answers; those that are missing are drawn."""
        draw = _Draw(answers, generator)
        return self.describe(self.space.decode(draw), draw.answers)

    def describe(self, member: MemberT, answers: Answers) -> Choice[MemberT]:
        """What is known of a member."""
        self._keep_up()
        found = self._met.get(member.id)
        if found is None:
            know = self.knowledge
            found = (know.features(member), know.values(member), know.violation(member))
            self._met[member.id] = found
        return Choice(member, answers, *found)

    def _keep_up(self) -> None:
        """Asks anew for what may have changed since it was remembered; features never do."""
        if self._growing is None or self._growing.edition == self._edition:
            return
        self._edition = self._growing.edition
        know, common = self.knowledge, self._common
        self._met = {
            choice.member.id: (
                choice.features,
                know.values(choice.member),
                know.violation(choice.member),
            )
            for choice in common
        }
        self._common = [self.describe(choice.member, choice.answers) for choice in common]

    def around(
        self, best: Sequence[Answers], others: Sequence[Answers], generator: random.Random
    ) -> Iterable[Choice[MemberT]]:
        """Fresh uniform members, and children of the best."""
        for _ in range(FRESH if self.breeds else FRESH + BRED):
            yield self.uniform(generator)
        for _ in range(BRED if self.breeds else 0):
            parent = generator.choice(best)
            if generator.random() < CROSSED:
                answers = _crossed(parent, generator.choice(others), generator)
            else:
                redrawn = 1 + generator.randrange(MOST_REDRAWN)
                answers = _thinned(parent, redrawn, generator)
            yield self.complete(answers, generator)

    def neighbours(
        self, best: Sequence[Answers], generator: random.Random
    ) -> Iterable[Choice[MemberT]]:
        """Members that differ from one of the best in one answer and what hangs on it."""
        each = NEIGHBOURS // max(1, len(best))
        for parent in best:
            names = list(parent)
            generator.shuffle(names)
            for name in names[:each]:
                yield self.complete(_without(parent, {name}), generator)


class _Draw:
    """Some answers are given, where they fit; the others are uniform. The same as a recording draw
    of a forced one, in a third of the time, which is most of the time of a proposal."""

    def __init__(self, given: Mapping[str, Scalar], generator: random.Random) -> None:
        self.given, self.generator = given, generator
        self.uniform = RandomDraw(generator)
        self.answers: Answers = {}

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        if axis not in self.answers:
            answer = self.given.get(axis, _MISSING)
            if not _offers(options, answer):
                answer = self.generator.choice(options)
            self.answers[axis] = answer
        return self.answers[axis]

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        if axis not in self.answers:
            answer = self.given.get(axis, _MISSING)
            if not Axis(axis, None, low, high, step, log).contains(answer):
                answer = self.uniform.integer(axis, low, high, step, log)
            self.answers[axis] = answer
        return self.answers[axis]  # type: ignore[return-value]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        if axis not in self.answers:
            answer = self.given.get(axis, _MISSING)
            if not Axis(axis, None, low, high, None, log).contains(answer):
                answer = self.uniform.real(axis, low, high, log)
            self.answers[axis] = answer
        return self.answers[axis]  # type: ignore[return-value]


_MISSING: Any = object()


def _offers(options: tuple[Scalar, ...], answer: Any) -> bool:
    """Whether an answer is among the options; 1, 1.0 and True are different ones."""
    if answer not in options:
        return False
    if type(options[options.index(answer)]) is type(answer):
        return True
    return any(answer == option and type(answer) is type(option) for option in options)


def _thinned(answers: Answers, count: int, generator: random.Random) -> Answers:
    return _without(answers, generator.sample(list(answers), min(count, len(answers))))


def _without(answers: Answers, names: Collection[str]) -> Answers:
    return {name: answer for name, answer in answers.items() if name not in names}


def _crossed(one: Answers, other: Answers, generator: random.Random) -> Answers:
    """Each answer of the first parent, or the other's where it has one."""
    return {
        name: other[name] if name in other and generator.random() < 0.5 else answer
        for name, answer in one.items()
    }
