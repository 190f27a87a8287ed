"""The control arm: a small share of the trials that a search without learning would have made.

Half are uniform draws. The other half know the number of parameters and nothing else: they spread
over the sizes of the space, or, where one trained metric is the only objective, take the largest
member of a draw. Both keep to the limits that need no evaluation, and propose nothing twice.

Which trials belong to the arm follows from the study's seed and its share alone: of the trials that
are evaluated, they are evenly spaced.
"""

from collections.abc import Collection, Iterator
from itertools import islice

from nas.driver.limits import violations
from nas.driver.screening import Screen
from nas.record import Proposal
from nas.samplers.uniform import generator_of
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Answers, RandomDraw, RecordingDraw
from nas.study import StudySpec

RANDOM = "control.random"
PARAMS = "control.params"
DRAWS = 200
"""Uniform members that are drawn at most; a fortieth of a space is missed with a chance of
0.6 %."""
CHOICE, CHOICE_DRAWS = 16, 64
"""Members out of which one is taken by its size, and draws after which fewer have to do."""


class ControlArm:
    """Proposals that follow from the study and from what was proposed before alone."""

    def __init__(self, spec: StudySpec, screen: Screen | None = None) -> None:
        self.spec = spec
        self.screen = screen or Screen(spec)
        self.share = spec.control_arm or 0.0
        self._phase = generator_of(spec.seed, 0, "control arm").random()
        self._by_largest = _asks_for_quality_alone(spec)
        self._given_up: int | None = None

    def propose(self, number: int, seen: Collection[str]) -> tuple[Proposal, Architecture] | None:
        """None where the trial is not the arm's, or where it finds nothing new to propose.

        `seen` holds the ids of the architectures that were evaluated, or are to be.
        """
        slot = len(seen)
        if slot == self._given_up or not self.owns(slot):
            return None
        index = self._before(slot)
        found = self._uniform(index, seen) if index % 2 == 0 else self._by_size(index, seen)
        if found is None:
            self._given_up = slot
            return None
        (answers, member), proposer = found, (RANDOM, PARAMS)[index % 2]
        return Proposal(number=number, answers=answers, proposer=proposer), member

    def owns(self, slot: int) -> bool:
        """Whether an evaluated trial, counted from 0, belongs to the arm."""
        return self._before(slot + 1) > self._before(slot)

    def _before(self, slot: int) -> int:
        """How many earlier trials belong to it."""
        return int(slot * self.share + self._phase)

    def _uniform(self, index: int, seen: Collection[str]) -> tuple[Answers, Architecture] | None:
        return next(self._draws(index, seen, RANDOM, DRAWS), None)

    def _by_size(self, index: int, seen: Collection[str]) -> tuple[Answers, Architecture] | None:
        drawn = islice(self._draws(index, seen, PARAMS, CHOICE_DRAWS), CHOICE)
        ordered = sorted(drawn, key=lambda pair: (pair[1].cost(1).params, pair[1].id))
        if not ordered:
            return None
        quantile = 1.0 if self._by_largest else van_der_corput(index // 2)
        return ordered[round(quantile * (len(ordered) - 1))]

    def _draws(
        self, index: int, seen: Collection[str], purpose: str, draws: int
    ) -> Iterator[tuple[Answers, Architecture]]:
        """Different uniform members that are new and within the limits known without evaluation."""
        generator = generator_of(self.spec.seed, index, purpose)
        known = set(seen)
        for _ in range(draws):
            record = RecordingDraw(RandomDraw(generator))
            member = self.spec.space.decode(record)
            if member.id in known:
                continue
            known.add(member.id)
            measured = self.screen.measure(member)
            if not violations(self.spec.limits, measured):
                yield record.answers, member


def van_der_corput(index: int) -> float:
    """Number `index` of the sequence 1/2, 1/4, 3/4, 1/8 ...: each new one falls into a widest gap
    (van der Corput, "Verteilungsfunktionen", 1935)."""
    left, found, step = index + 1, 0.0, 0.5
    while left:
        left, bit = divmod(left, 2)
        found += step * bit
        step /= 2
    return found


def _asks_for_quality_alone(spec: StudySpec) -> bool:
    """Whether the only objective is a trained metric, so that nothing speaks against size."""
    metrics = [objective.metric for objective in spec.objectives]
    return len(metrics) == 1 and spec.metrics[metrics[0]].stage.startswith("train")
