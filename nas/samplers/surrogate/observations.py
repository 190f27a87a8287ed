"""What a sampler was told, as tables that a model can be fitted to.

Objectives are costs here: those that are maximised are negated.

n observations, M objectives, F features
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.evaluators.base import Direction
from nas.pareto import Floats, as_costs, front
from nas.samplers.base import MemberT
from nas.samplers.surrogate.pool import Choice

MOST = 200
"""Observations that a model is conditioned on: its cost grows with their cube."""
FAR = 30.0
"""A cost further above the median than this many times what the best is below it tells no more
than that it is bad: the volume that is gained is measured in shares of the range, and one diverged
training would leave the others none of it."""
UNSURE = 0.25
"""Variance, relative to that of the objective, that is granted to what was reached at a rung while
hardly any trial has gone further."""
PAIRS = 3
"""Trials that have to have reached both ends before a rung is corrected."""


@dataclass(slots=True)
class Entry(Generic[MemberT]):
    """One proposal and what became of it."""

    choice: Choice[MemberT]
    reached: dict[int | None, list[float]] = field(default_factory=dict)
    """Costs [M] by rung; None is the end."""
    violation: float = 0.0
    is_told: bool = False
    failed: bool = False

    @property
    def rung(self) -> int | None:
        """The furthest rung with values."""
        if None in self.reached:
            return None
        return max(r for r in self.reached if r is not None)


class Rows(NamedTuple):
    """Observations with values, each architecture once."""

    features: Floats
    """[n, F]"""
    costs: Floats
    """[n, M], corrected to the last rung and clipped."""
    extra: Floats
    """[n, M] variance of each cost on top of the noise, relative to that of the objective."""
    feasible: NDArray[np.bool_]
    """[n]"""
    answers: list[dict[str, object]]


class Observations(Generic[MemberT]):
    """All proposals of a study, by number."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        self.directions = list(directions)
        self.proposals = 0
        self._entries: dict[int, Entry[MemberT]] = {}
        self._furthest: dict[str, Entry[MemberT]] = {}
        """Told with values, each member once and as far as it went."""
        self._out: dict[str, Choice[MemberT]] = {}
        self._bad = 0
        """Evaluated ones that broke a limit or failed."""

    def add(self, choice: Choice[MemberT]) -> None:
        """A further proposal."""
        self._entries[self.proposals] = Entry(choice)
        self.proposals += 1
        if choice.member.id not in self._furthest:
            self._out[choice.member.id] = choice

    def skip(self) -> None:
        """A number without a proposal."""
        self.proposals += 1

    def tell(
        self, number: int, values: Sequence[float] | None, violation: float, rung: int | None
    ) -> None:
        """What became of a proposal; see ``samplers.base.Sampler.tell``."""
        entry = self._entries[number]
        entry.is_told, entry.violation = True, violation
        member = entry.choice.member.id
        self._out.pop(member, None)
        if values is None:
            entry.failed = entry.failed or violation == 0
        else:
            entry.reached[rung] = as_costs([list(values)], self.directions)[0].tolist()
            known = self._furthest.get(member)
            if known is None or _goes_further(entry, known):
                self._furthest[member] = entry
        self._bad += entry.choice.violation == 0 and (entry.failed or violation > 0)

    @property
    def pending(self) -> list[Choice[MemberT]]:
        """Proposals that are out, each member once."""
        return list(self._out.values())

    @property
    def seen(self) -> set[str]:
        """Members that were proposed."""
        return {entry.choice.member.id for entry in self._entries.values()}

    @property
    def count(self) -> int:
        """Members with values."""
        return len(self._furthest)

    def rows(self) -> Rows:
        """At most `MOST`: the best half by rank, and the newest of the others."""
        entries = list(self._furthest.values())
        costs, extra = self._corrected(entries)
        costs = _clipped(costs)
        feasible = np.array([entry.violation == 0 for entry in entries], dtype=bool)
        keep = _most_telling(costs, feasible)
        return Rows(
            np.array([entries[i].choice.features for i in keep]),
            costs[keep],
            extra[keep],
            feasible[keep],
            [dict(entries[i].choice.answers) for i in keep],
        )

    def verdicts(self) -> tuple[Floats, Floats]:
        """Features [n, F] and -1 or 1 [n] for each evaluated member that broke a limit or failed,
        or did not; none where none did. Those that broke a limit in closed form were not
        evaluated."""
        if not self._bad:
            return np.zeros((0, 0)), np.zeros(0)
        told = {
            entry.choice.member.id: entry
            for entry in self._entries.values()
            if entry.is_told and entry.choice.violation == 0
        }
        kept = list(told.values())[-MOST:]
        good = [not entry.failed and entry.violation == 0 for entry in kept]
        features = np.array([entry.choice.features for entry in kept])
        return features, np.where(good, 1.0, -1.0)

    def _corrected(self, entries: Sequence[Entry[MemberT]]) -> tuple[Floats, Floats]:
        costs = np.array([entry.reached[entry.rung] for entry in entries])
        extra = np.zeros_like(costs)
        rungs = sorted({entry.rung for entry in entries if entry.rung is not None})
        scale = costs.var(axis=0) + 1e-300
        for rung in rungs:
            at = [i for i, entry in enumerate(entries) if entry.rung == rung]
            both = [e.reached for e in entries if None in e.reached and rung in e.reached]
            gaps = np.array([np.subtract(found[None], found[rung]) for found in both])
            if len(gaps) < PAIRS:
                extra[at] = UNSURE
            else:
                costs[at] += np.median(gaps, axis=0)
                extra[at] = np.minimum(gaps.var(axis=0) / scale, 1.0)
        return costs, extra


def _goes_further(entry: Entry[MemberT], known: Entry[MemberT]) -> bool:
    if entry.rung is None or known.rung is None:
        return entry.rung is None
    return entry.rung > known.rung


def _clipped(costs: Floats) -> Floats:
    if not len(costs):
        return costs
    middle, best = np.median(costs, axis=0), costs.min(axis=0)
    worst = np.where(middle > best, middle + FAR * (middle - best), np.inf)
    return np.asarray(np.minimum(costs, worst))


def _most_telling(costs: Floats, feasible: NDArray[np.bool_]) -> list[int]:
    """Indices in order."""
    count = len(costs)
    if count <= MOST:
        return list(range(count))
    best = _best(np.where(feasible[:, None], costs, costs + np.ptp(costs, axis=0) + 1), MOST // 2)
    left = np.setdiff1d(np.arange(count), best)
    return sorted([*best, *left[len(left) - (MOST - len(best)) :].tolist()])


def _best(costs: Floats, most: int) -> list[int]:
    """Indices of whole fronts, one behind the other, until there are about so many."""
    left = np.arange(len(costs))
    found: list[int] = []
    while len(found) < most:
        mask = front(costs[left], ["minimize"] * costs.shape[1])
        found += left[mask].tolist()
        left = left[~mask]
    return found[: MOST - 1]
