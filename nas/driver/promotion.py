"""Who may go on from which rung: asynchronous successive halving as a table of what was reached.

A trial may go on if it is among the best ``floor(n * keep)`` of the n that have reached its rung
(ASHA, Li et al., arXiv 1810.05934), however long ago it was stopped there. With several objectives
the best are those of the lowest non-dominated rank, and within a rank the least crowded ones
(MO-ASHA, Schmucker et al., arXiv 2106.12639; crowding distance of NSGA-II, Deb et al., 2002).

N trials, M objectives
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import NamedTuple

import numpy as np

from nas.deciding import Deciding
from nas.pareto import Floats, as_costs, crowding, front

Values = Sequence[float | None]
"""[M] None for an objective that nothing speaks for at the rung."""


class Step(NamedTuple):
    """A trial that may go on."""

    number: int
    rung: int
    """Which it has been through last."""


@dataclass(slots=True)
class _Reached:
    """One rung."""

    values: dict[int, Values] = field(default_factory=dict)
    """Of each trial that can be compared there, by number."""
    passing: set[int] = field(default_factory=set)
    """Trials that go on whatever the others reach."""
    gone: set[int] = field(default_factory=set)
    """Trials that went on."""


class Halving:
    """What was reached at each deciding rung, and who has gone on from there."""

    def __init__(self, rungs: Sequence[Deciding], keep: float) -> None:
        self.rungs = rungs
        self.keep = keep
        self._reached = [_Reached() for _ in rungs]
        self._highest: dict[int, int] = {}
        """By number: the rung that a trial has been through last."""

    def reach(self, number: int, rung: int, values: Values, *, passes: bool) -> None:
        """A trial has been through a rung, and so has gone on from the one before it."""
        self.go_on(number)
        self._highest[number] = rung
        here = self._reached[rung]
        if any(value is not None for value in values):
            here.values[number] = values
        if passes:
            here.passing.add(number)

    def go_on(self, number: int) -> None:
        """A trial has gone on from the rung that it had been through last, if any."""
        if number in self._highest:
            self._reached[self._highest[number]].gone.add(number)

    def next(self, at_least: int = 0) -> Step | None:
        """The trial that should go on first: from the highest rung at which there is one; there
        those that pass, then the best. None where nobody may. So many as `at_least` of each rung
        may go on, however few have reached it."""
        for rung in reversed(range(len(self.rungs))):
            reached = self._reached[rung]
            if passing := reached.passing - reached.gone:
                return Step(min(passing), rung)
            for number in self._best(rung, at_least):
                if number not in reached.gone:
                    return Step(number, rung)
        return None

    def _best(self, rung: int, at_least: int) -> list[int]:
        """Numbers of the trials that may go on from a rung, the best first."""
        found = self._reached[rung].values
        # the share of a round number is round: a third of 3 is 1, whatever a float makes of it
        count = max(floor(len(found) * self.keep + 1e-9), at_least)
        if not count or not found:
            return []
        return best_of(list(found), list(found.values()), self.rungs[rung].directions, count)


def best_of(
    numbers: Sequence[int], values: Sequence[Values], directions: Sequence[str], count: int
) -> list[int]:
    """The `count` best of N trials with values [N, M], the best first: by non-dominated rank, then
    by crowding distance, then the older one. Objectives that are None are left out."""
    order = np.argsort(numbers)
    told = [place for place, value in enumerate(values[0]) if value is not None]
    table = np.array([[values[index][place] for place in told] for index in order], dtype=float)
    costs = as_costs(table, [directions[place] for place in told])  # type: ignore[misc]
    chosen = _fronts_first(costs, count)
    return [numbers[order[place]] for place in chosen]


def _fronts_first(costs: Floats, count: int) -> list[int]:
    """Places of the `count` best points, front by front; no front is looked for in vain."""
    left, found = np.arange(len(costs)), list[int]()
    while len(found) < count and len(left):
        mask = front(costs[left], ["minimize"] * costs.shape[1])
        level = left[mask]
        found += level[np.argsort(-crowding(costs[level]), kind="stable")].tolist()
        left = left[~mask]
    return found[:count]
