"""Parts that were drawn before, found again by the answers that led to them.

Drawing looks ahead over rules and derived numbers, which takes milliseconds, and asks the same
questions in the same order whenever the answers and the surroundings are the same. So questions and
parts are kept as a tree, on the domain that they come from: whoever answers is asked exactly what
he would have been asked, and the part at the end is the very one that was drawn before.
"""

from dataclasses import dataclass, field
from typing import Any

from nas.search_spaces.axes import Draw, Scalar
from nas.search_spaces.base import Part, Place
from nas.search_spaces.drawing import deciding, draw_part

MOST_PARTS = 20_000
"""Parts that a domain remembers; beyond them it draws afresh."""


@dataclass(slots=True)
class _Question:
    """A question, and what comes after each answer."""

    method: str
    """Of ``Draw``."""
    name: str
    """Of the axis, after the path of the domain."""
    arguments: tuple[Any, ...]
    after: dict[Any, "_Question | Part"] = field(default_factory=dict)

    def put(self, draw: Draw, path: str) -> Scalar:
        answer: Scalar = getattr(draw, self.method)(path + self.name, *self.arguments)
        return answer


class Drawn:
    """What a domain remembers."""

    __slots__ = ("parts", "trees")

    def __init__(self) -> None:
        self.trees: dict[tuple[int, int], _Question | Part] = {}
        """By what decides about the questions (`deciding`)."""
        self.parts = 0


def draw_remembered(domain: Any, draw: Draw, path: str, at: Place) -> Part:
    """The same as ``draw_part``, faster where it has been drawn before."""
    drawn: Drawn = domain.memory.get("drawn") or domain.memory.setdefault("drawn", Drawn())
    key = deciding(domain, at)
    found = drawn.trees.get(key)
    answers: list[Scalar] = []
    while isinstance(found, _Question):
        answer = found.put(draw, path)
        answers.append(answer)
        found = found.after.get((type(answer), answer))
    if found is not None:
        return found
    rest = _Continue(draw, path, answers)
    part = draw_part(domain, rest, path, at)
    if drawn.parts < MOST_PARTS:
        drawn.parts += 1
        _remember(drawn, key, rest.questions, rest.given, part)
    return part


def _remember(
    drawn: Drawn,
    key: tuple[int, int],
    questions: list[_Question],
    answers: list[Scalar],
    part: Part,
) -> None:
    """Adds what is new of one drawing to the tree."""
    branch: dict[Any, _Question | Part] = drawn.trees
    step: Any = key
    for question, answer in zip(questions, answers, strict=True):
        known = branch.setdefault(step, question)
        assert isinstance(known, _Question)  # the answers so far decide what is asked
        branch, step = known.after, (type(answer), answer)
    branch[step] = part


class _Continue:
    """Gives the answers that are known already, in turn, then asks; notes all questions."""

    def __init__(self, draw: Draw, path: str, known: list[Scalar]) -> None:
        self.draw, self.path, self.known = draw, path, known
        self.questions: list[_Question] = []
        self.given: list[Scalar] = []

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self._ask("choice", axis, options)

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        return self._ask("integer", axis, low, high, step, log)  # type: ignore[return-value]

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        return self._ask("real", axis, low, high, log)  # type: ignore[return-value]

    def _ask(self, method: str, axis: str, *arguments: Any) -> Scalar:
        question = _Question(method, axis.removeprefix(self.path), arguments)
        place = len(self.given)
        if place < len(self.known):
            answer = self.known[place]
        else:
            answer = question.put(self.draw, self.path)
        self.questions.append(question)
        self.given.append(answer)
        return answer
