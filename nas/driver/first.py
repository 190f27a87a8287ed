"""The candidates with which a study begins, because somebody named them."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from nas.choosing import expected_trials
from nas.locating import answers_of
from nas.pareto import crowding, front
from nas.record import Proposal
from nas.samplers.base import Observation
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Answers
from nas.study import StudySpec

PROPOSER = "first"
MOST_OF_BUDGET = 4
"""Trials of the budget for each candidate that is taken from another study's front unasked."""


class FirstCandidates:
    """Proposals in the order of the study; those of warm starts come last."""

    def __init__(self, spec: StudySpec, known: Sequence[Architecture] = ()) -> None:
        self.spec = spec
        self._known = known

    def __len__(self) -> int:
        return len(self._all)

    def propose(self, number: int) -> tuple[Proposal, Architecture] | None:
        """None where all of them have been proposed."""
        if number >= len(self._all):
            return None
        answers, architecture = self._all[number]
        proposal = Proposal(
            number=number,
            answers=answers or {},
            proposer=PROPOSER,
            outside=answers is None,
        )
        return proposal, architecture

    @cached_property
    def _all(self) -> list[tuple[Answers | None, Architecture]]:
        named = {each.id: each for each in self.spec.first_candidates}
        found = [(answers_of(self.spec.space, each), each) for each in named.values()]
        taken = [each for each in self._known if each.id not in named]
        located = ((answers_of(self.spec.space, each), each) for each in taken)
        return [*found, *(pair for pair in located if pair[0] is not None)]


def best_known(spec: StudySpec, known: Sequence[Observation[Architecture]]) -> list[Architecture]:
    """The front of what is known within the limits, the least crowded first; at most a quarter as
    many as the study has trials. Objectives that are not known of every one do not count."""
    kept = [each for each in known if each.violation == 0]
    if not kept:
        return []
    values = np.array([each.values for each in kept], dtype=float)
    columns = np.flatnonzero(np.isfinite(values).all(axis=0))
    if not len(columns):
        return []
    values = values[:, columns]
    chosen = np.flatnonzero(front(values, [spec.objectives[i].direction for i in columns]))
    order = np.argsort(-crowding(values[chosen]), kind="stable")
    most = max(1, expected_trials(spec) // MOST_OF_BUDGET)
    return [kept[chosen[place]].member for place in order[:most]]
