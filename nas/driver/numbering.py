"""A sampler whose numbers count only what it can be told of.

A study may hold trials that are no members of its space (``Proposal.outside``). A sampler cannot
decode them, so it never hears of them, and its own numbers go on without a gap.
"""

from bisect import bisect_left
from collections.abc import Sequence

from nas.record import Proposal
from nas.samplers.base import Sampler
from nas.search_spaces.architecture import Architecture


class OwnNumbers:
    """Implements ``samplers.base.Sampler`` in the numbers of the study's trials."""

    def __init__(self, sampler: Sampler[Architecture]) -> None:
        self.inner = sampler
        self.name = sampler.name
        self._outside: list[int] = []
        """Trials that the sampler does not know of, ascending."""
        self._told: set[int] = set()

    @property
    def told(self) -> int:
        """Trials of which the sampler has heard."""
        return len(self._told)

    def ask(self) -> tuple[Proposal, Architecture]:
        """The sampler's next proposal, under the number of the next trial."""
        proposal, architecture = self.inner.ask()
        number = proposal.number + len(self._outside)
        return proposal.model_copy(update={"number": number}), architecture

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        """Passes on what became of a trial, unless it lies outside the space."""
        if number in self._outside:
            return
        self._told.add(number)
        if rung is None:
            self.inner.tell(self._own(number), values, violation)
        else:
            self.inner.tell(self._own(number), values, violation, rung)

    def replay(self, proposal: Proposal) -> None:
        """Passes on a recorded proposal, unless it lies outside the space."""
        if proposal.outside:
            self._outside.append(proposal.number)
        else:
            own = {"number": self._own(proposal.number)}
            self.inner.replay(proposal.model_copy(update=own))

    def skip(self, number: int) -> None:
        """Passes on that a number goes without a proposal."""
        self.inner.skip(self._own(number))

    def _own(self, number: int) -> int:
        return number - bisect_left(self._outside, number)
