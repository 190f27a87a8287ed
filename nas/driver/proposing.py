"""Who proposes next: whoever named first candidates, the calibration, the control arm, the sampler,
or uniform draws in place of a sampler that is stuck."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from nas.driver.arm import PARAMS, RANDOM, ControlArm
from nas.driver.calibration import Calibration
from nas.driver.fallback import UniformSearch
from nas.driver.first import PROPOSER as FIRST
from nas.driver.first import FirstCandidates, best_known
from nas.driver.numbering import OwnNumbers
from nas.driver.screening import Screen
from nas.record import Proposal
from nas.samplers.base import LearnsBefore, Observation
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec

GIVEN = (FIRST, RANDOM, PARAMS)
"""Proposers that follow no sampler and say nothing about one."""


class Proposed(NamedTuple):
    """What is to be tried next."""

    proposal: Proposal
    architecture: Architecture
    by_sampler: bool
    """Else the sampler has to be told of the proposal, by ``replay``."""


class Proposals:
    """Decides on each proposal from the study, its number and what was proposed before alone, so
    that a resumed study goes on as an uninterrupted one would have."""

    def __init__(self, spec: StudySpec, sampler: OwnNumbers, screen: Screen) -> None:
        self.spec = spec
        self.sampler = sampler
        self._first = FirstCandidates(spec)
        self._calibration = Calibration(spec)
        self._arm = ControlArm(spec, screen)
        self._fallback = UniformSearch(spec, screen)

    def start_from(self, known: Sequence[Observation[Architecture]]) -> str | None:
        """Takes in what other studies know, before anything else; says in words what is done with
        it, None where there is nothing."""
        if not known:
            return None
        if isinstance(self.sampler.inner, LearnsBefore):
            self.sampler.inner.learn(known)
            return f"{self.sampler.name} learns from {len(known)} architectures of other studies"
        named = len(self._first)
        self._first = FirstCandidates(self.spec, best_known(self.spec, known))
        return (
            f"{self.sampler.name} cannot learn from other studies; of the {len(known)} "
            f"architectures known from them, {len(self._first) - named} on their front are tried "
            "first"
        )

    def next(self, number: int, seen: Collection[str], *, stuck: bool) -> Proposed | str:
        """The proposal of this number, or in words why there is nothing new to try.

        `seen` holds the ids of architectures that need no further evaluation; `stuck` says that the
        sampler has only proposed such ones for a while.
        """
        given = (
            self._first.propose(number)
            or self._calibration.propose(number - len(self._first))
            or self._arm.propose(number, seen)
        )
        if given is not None:
            proposal, architecture = given
            proposal = proposal.model_copy(update={"number": number})
            return Proposed(proposal, architecture, by_sampler=False)
        if not stuck:
            return Proposed(*self.sampler.ask(), by_sampler=True)
        found = self._fallback.propose(number, seen, self.sampler.name)
        return found if isinstance(found, str) else Proposed(*found, by_sampler=False)
