"""How a space asks a question, and how all its questions are found.

``decode(draw)`` asks; anyone may answer: Optuna on demand, a replay from stored answers, a random
generator. ``survey`` runs decode many times to learn every axis, for optimisers that have to know
them all before they start.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Scalar: TypeAlias = int | float | bool | str | None
Answers: TypeAlias = dict[str, Scalar]


class Draw(Protocol):
    """Answers questions. The same axis is asked at most once while decoding one architecture."""

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        """One of at least two options."""

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        """A whole number low, low + step, ... up to high."""

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        """A number from low to high."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One question of a space and the answers it accepts."""

    name: str
    options: tuple[Scalar, ...] | None = None
    """Set for a choice."""
    low: float = 0
    high: float = 0
    step: int | None = None
    """Set for whole numbers; None with no options is a real number."""
    log: bool = False

    def contains(self, answer: Scalar) -> bool:
        """Whether this is an answer to the question."""
        if self.options is not None:
            return any(answer == o and type(answer) is type(o) for o in self.options)
        if isinstance(answer, bool) or not isinstance(answer, int | float):
            return False
        if not self.low <= answer <= self.high:
            return False
        return self.step is None or (answer - self.low) % self.step == 0

    def corners(self) -> tuple[Scalar, ...]:
        """Answers that together may bring out every dependent question."""
        if self.options is not None:
            return self.options
        if self.step is None:
            return (self.low, self.high)
        low, high = int(self.low), int(self.high)
        members = range(low, high + 1, self.step)
        return tuple(members) if len(members) <= 64 else (members[0], members[-1])


class UnansweredAxis(LookupError):
    """A replay was asked something that its answers do not cover."""


class RandomDraw:
    """Uniform answers from one seeded generator; log ranges are uniform in the logarithm."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self.generator.choice(options)

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        if log:
            drawn = math.exp(self.generator.uniform(math.log(low), math.log(high + 1)))
            return min(high, int(drawn))
        return self.generator.randrange(low, high + 1, step)

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        if log:
            return math.exp(self.generator.uniform(math.log(low), math.log(high)))
        return self.generator.uniform(low, high)


class ReplayDraw:
    """Answers from a record; raises UnansweredAxis for a question the record does not answer."""

    def __init__(self, answers: Mapping[str, Scalar]) -> None:
        self.answers = answers

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self._look_up(Axis(axis, options))

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        return int(self._look_up(Axis(axis, None, low, high, step, log)))  # type: ignore[arg-type]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        return float(self._look_up(Axis(axis, None, low, high, None, log)))  # type: ignore[arg-type]

    def _look_up(self, axis: Axis) -> Scalar:
        answer = self.answers.get(axis.name, _MISSING)
        if answer is _MISSING or not axis.contains(answer):
            raise UnansweredAxis(axis.name)
        return answer


_MISSING: Any = object()


class RecordingDraw:
    """Passes questions on and keeps axes and answers; an axis asked again gets the same answer."""

    def __init__(self, inner: Draw) -> None:
        self.inner = inner
        self.axes: dict[str, Axis] = {}
        self.answers: Answers = {}

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self._ask(Axis(axis, options), lambda: self.inner.choice(axis, options))

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        question = Axis(axis, None, low, high, step, log)
        return self._ask(question, lambda: self.inner.integer(axis, low, high, step, log))  # type: ignore[return-value]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        question = Axis(axis, None, low, high, None, log)
        return self._ask(question, lambda: self.inner.real(axis, low, high, log))  # type: ignore[return-value]

    def _ask(self, axis: Axis, ask: Callable[[], Scalar]) -> Scalar:
        if axis.name not in self.answers:
            self.axes[axis.name] = axis
            self.answers[axis.name] = ask()
        return self.answers[axis.name]


class ForcedDraw:
    """Some answers are forced; the rest come from another draw. A forced answer that does not fit
    the question is ignored."""

    def __init__(self, forced: Mapping[str, Scalar], rest: Draw) -> None:
        self.forced = forced
        self.rest = rest

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self._or(Axis(axis, options), lambda: self.rest.choice(axis, options))

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        question = Axis(axis, None, low, high, step, log)
        return self._or(question, lambda: self.rest.integer(axis, low, high, step, log))  # type: ignore[return-value]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        question = Axis(axis, None, low, high, None, log)
        return self._or(question, lambda: self.rest.real(axis, low, high, log))  # type: ignore[return-value]

    def _or(self, axis: Axis, ask: Callable[[], Scalar]) -> Scalar:
        forced = self.forced.get(axis.name, _MISSING)
        return forced if forced is not _MISSING and axis.contains(forced) else ask()


def survey(decode: Callable[[Draw], object], *, extra: int = 64, seed: int = 0) -> dict[str, Axis]:
    """Every axis of a space that can be found by forcing each answer once, in the context in which
    its axis first came up, plus `extra` random decodes. An axis that shows only when two
    independent choices coincide may be missed: keep conditions nested.
    """
    generator = random.Random(seed)
    axes: dict[str, Axis] = {}
    queue: list[Answers] = [{}]
    while queue:
        forced = queue.pop()
        record = RecordingDraw(ForcedDraw(forced, RandomDraw(generator)))
        decode(record)
        for name, axis in record.axes.items():
            if name in axes:
                continue
            axes[name] = axis
            before = _answers_before(record, name)
            queue.extend({**before, name: answer} for answer in axis.corners())
    for _ in range(extra):
        record = RecordingDraw(RandomDraw(generator))
        decode(record)
        for name, axis in record.axes.items():
            axes.setdefault(name, axis)
    return dict(sorted(axes.items()))


def _answers_before(record: RecordingDraw, name: str) -> Answers:
    names: Sequence[str] = list(record.answers)
    return {earlier: record.answers[earlier] for earlier in names[: names.index(name)]}
