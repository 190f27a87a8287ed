"""Plain random search: every answer uniform, no library, nothing learned."""

import random
from collections.abc import Sequence
from typing import Generic

from nas.record import Proposal
from nas.samplers.base import MemberT, Space
from nas.search_spaces.axes import RandomDraw, RecordingDraw


def generator_of(seed: int, number: int, purpose: str = "uniform") -> random.Random:
    """The random numbers of one proposal. They follow from the seed and the number alone, so that
    a resumed study draws what an uninterrupted one would have drawn."""
    return random.Random(f"{purpose}:{seed}:{number}")


class UniformSampler(Generic[MemberT]):
    """Implements ``base.Sampler``."""

    name = "uniform"

    def __init__(self, space: Space[MemberT], *, seed: int) -> None:
        self.space = space
        self.seed = seed
        self._next = 0

    def ask(self) -> tuple[Proposal, MemberT]:
        draw = RecordingDraw(RandomDraw(generator_of(self.seed, self._next)))
        member = self.space.decode(draw)
        proposal = Proposal(number=self._next, answers=draw.answers, proposer=self.name)
        self._next += 1
        return proposal, member

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        """Learns nothing."""

    def replay(self, proposal: Proposal) -> None:
        self._next = proposal.number + 1

    def skip(self, number: int) -> None:
        self._next = number + 1
