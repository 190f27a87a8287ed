"""A recorded table as a space: the rows are its members, and every answer leads to one of them.

The axes are asked in order, and each offers only the values that still lead to a row given the
answers so far; a question with one value left is not asked. A full grid thus has the same
questions everywhere. Where rows are missing, an axis that offers only some of its values is
another question with a name of its own (``width|1``), since a library may not see the options of
one name change. Nothing is snapped to a neighbour, and no proposal is wasted on a missing row. The
price: uniform answers draw rows in thinly filled branches more often than others.

N rows, A axes, M objectives
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.errors import BadInput
from nas.pareto import Floats, as_costs, front, hypervolume
from nas.search_spaces.axes import Answers, Axis, Draw, ReplayDraw, Scalar
from nas.study import Objective

Codes: TypeAlias = NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Row:
    """A member: one row of the table."""

    index: int
    """From 0, in the order of the answers and not of the file."""

    @property
    def id(self) -> str:
        """Equal for equal rows."""
        return f"row-{self.index}"


class _Question(NamedTuple):
    """One question, and what each of its answers leads to: the next question, or a row."""

    name: str
    options: tuple[Scalar, ...]
    next: "tuple[_Question | int, ...]"


class Table:
    """Implements ``samplers.base.Space``. Rows with equal answers are one row with their mean."""

    def __init__(
        self,
        name: str,
        columns: Mapping[str, Sequence[Scalar]],
        objectives: Sequence[Objective],
        values: ArrayLike,
    ) -> None:
        """`columns` are the answers of each axis [N], in the order in which they are asked;
        `values` [N, M] are the objectives in their own units. Raises BadInput for a table in which
        nothing can be searched."""
        self.name = name
        self.objectives = tuple(objectives)
        self.columns = {axis: _options(given) for axis, given in columns.items()}
        """The values of each axis in order: numbers ascending, text by the alphabet."""
        self.codes, self.values = _merged(_codes(columns, self.columns), np.asarray(values, float))
        """[N, A] positions among the values of each axis, in order; [N, M] objectives."""
        self.axes: dict[str, Axis] = {}
        self.asks: dict[str, str] = {}
        """The axis that each question asks for."""
        self._names: dict[tuple[int, tuple[int, ...]], str] = {}
        self.costs = self._scaled()
        """[N, M] scaled to 0..1 over the table, and small is better."""
        self._first = self._question(0, len(self.codes), 0)
        self.points = np.unique(self.costs, axis=0, return_inverse=True)[1].reshape(-1)
        """[N] number of the point in objective space; rows with equal values are one point."""
        self.front = self.front_of(np.arange(len(self.codes)))
        """The rows on the true front, equal ones included."""
        self.hypervolume = self.volume(self.front)
        """Of the whole table; see `volume`."""
        if self.hypervolume <= 0:
            raise BadInput.at(
                "objectives",
                "no row is better than the worst of the table in every objective at once, so there "
                "is no hypervolume to reach",
                given=[o.metric for o in self.objectives],
                accepted="a table in which some row beats the worst value of each objective",
            )

    def __len__(self) -> int:
        return len(self.codes)

    def __reduce__(self) -> tuple[Any, ...]:
        columns = {
            axis: [options[code] for code in self.codes[:, place]]
            for place, (axis, options) in enumerate(self.columns.items())
        }
        return type(self), (self.name, columns, self.objectives, self.values)

    def decode(self, draw: Draw) -> Row:
        """The row that some answers lead to."""
        at = self._first
        while not isinstance(at, int):
            at = at.next[_position(at.options, draw.choice(at.name, at.options))]
        return Row(at)

    def answers_of(self, row: Row) -> Answers:
        """The answers that lead to a row."""
        given = dict(zip(self.columns, self.codes[row.index], strict=True))
        answers: Answers = {}
        at = self._first
        while not isinstance(at, int):
            axis = self.asks[at.name]
            answer = self.columns[axis][given[axis]]
            answers[at.name] = answer
            at = at.next[_position(at.options, answer)]
        return answers

    def row_of(self, answers: Mapping[str, Scalar]) -> Row:
        """The row that recorded answers lead to; those to questions that do not come up are left
        unused. Raises UnansweredAxis for one that is missing."""
        return self.decode(ReplayDraw(answers))

    def front_of(self, rows: Codes) -> Codes:
        """Those of some rows [..] that no other of them dominates."""
        return rows[front(self.costs[rows], ["minimize"] * len(self.objectives))]

    def front_points(self, rows: Codes) -> set[int]:
        """The points in objective space of the front of some rows."""
        return set(self.points[self.front_of(rows)].tolist())

    def volume(self, rows: Iterable[int]) -> float:
        """Hypervolume of some rows, objectives scaled to 0..1 over the table; the reference point
        is 1 in each, the table's worst values."""
        chosen = self.costs[list(rows)]
        return hypervolume(chosen, np.ones(len(self.objectives))) if len(chosen) else 0.0

    def _scaled(self) -> Floats:
        costs = as_costs(self.values, [o.direction for o in self.objectives])
        low, high = costs.min(axis=0), costs.max(axis=0)
        for objective, least, most in zip(self.objectives, low, high, strict=True):
            if least == most:
                raise BadInput.at(
                    "objectives",
                    "every row has the same value, so there is nothing to search",
                    given=objective.metric,
                    accepted="objectives that differ between rows",
                )
        return (costs - low) / (high - low)

    def _question(self, start: int, end: int, place: int) -> _Question | int:
        """What is asked of the rows from `start` up to `end`, which agree on the axes before
        `place`."""
        if end - start == 1:
            return start
        while (self.codes[start:end, place] == self.codes[start, place]).all():
            place += 1  # rows differ, so some axis tells them apart
        found, first = np.unique(self.codes[start:end, place], return_index=True)
        edges = [start + int(offset) for offset in first] + [end]
        name = self._named(place, tuple(int(code) for code in found))
        following = (self._question(a, b, place + 1) for a, b in pairwise(edges))
        return _Question(name, self.axes[name].options or (), tuple(following))

    def _named(self, place: int, codes: tuple[int, ...]) -> str:
        """The question that offers some values of an axis; the same values are the same one."""
        if (place, codes) not in self._names:
            axis, values = list(self.columns.items())[place]
            name = axis if len(codes) == len(values) else self._free_name(axis)
            self._names[place, codes] = name
            self.asks[name] = axis
            self.axes[name] = Axis(name, tuple(values[code] for code in codes))
        return self._names[place, codes]

    def _free_name(self, axis: str) -> str:
        number = 1
        while (name := f"{axis}|{number}") in self.asks or name in self.columns:
            number += 1
        return name


def _options(given: Sequence[Scalar]) -> tuple[Scalar, ...]:
    """The distinct values of an axis, in order."""
    distinct = {(type(value), value): value for value in given}
    return tuple(sorted(distinct.values(), key=_order))


def _order(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    kind = 1 if isinstance(value, bool) else 2 if isinstance(value, int | float) else 3
    return kind, value


def _codes(
    columns: Mapping[str, Sequence[Scalar]], options: Mapping[str, tuple[Scalar, ...]]
) -> Codes:
    """[N, A] the position of each answer among the values of its axis."""
    found = []
    for axis, given in columns.items():
        places = {(type(value), value): place for place, value in enumerate(options[axis])}
        found.append([places[type(value), value] for value in given])
    return np.array(found, dtype=int).reshape(len(columns), -1).T


def _merged(codes: Codes, values: Floats) -> tuple[Codes, Floats]:
    """Rows in the order of their answers; rows with equal answers are one, with the mean."""
    if codes.size == 0:
        raise BadInput.at(
            "axes", "there is nothing to choose", accepted="at least one axis and row"
        )
    distinct, inverse, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise BadInput.at(
            "axes",
            "all rows have the same answers",
            accepted="axes whose values differ between rows",
        )
    sums = np.zeros((len(distinct), values.shape[1]))
    np.add.at(sums, inverse.reshape(-1), values)
    return distinct, sums / counts[:, None]


def _position(options: tuple[Scalar, ...], answer: Scalar) -> int:
    """Where an answer stands among the options."""
    for place, option in enumerate(options):
        if option == answer and type(option) is type(answer):
            return place
    raise ValueError(f"{answer!r} is none of {options!r}")
