"""Plain random search: every answer uniform, no library, nothing learned."""

import random
from collections.abc import Sequence

from nas.record import Proposal
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RandomDraw, RecordingDraw
from nas.search_spaces.space import SearchSpace


def generator_of(seed: int, number: int, purpose: str = "uniform") -> random.Random:
    """The random numbers of one proposal. They follow from the seed and the number alone, so that
    a resumed study draws what an uninterrupted one would have drawn."""
    return random.Random(f"{purpose}:{seed}:{number}")


class UniformSampler:
    """Implements ``base.Sampler``."""

    name = "uniform"

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        self.space = space
        self.seed = seed
        self._next = 0

    def ask(self) -> tuple[Proposal, Architecture]:
        draw = RecordingDraw(RandomDraw(generator_of(self.seed, self._next)))
        architecture = self.space.decode(draw)
        proposal = Proposal(number=self._next, answers=draw.answers, proposer=self.name)
        self._next += 1
        return proposal, architecture

    def tell(self, number: int, values: Sequence[float] | None, violation: float) -> None:
        """Learns nothing."""

    def replay(self, proposal: Proposal) -> None:
        self._next = proposal.number + 1
