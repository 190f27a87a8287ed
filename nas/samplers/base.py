"""The one protocol behind which every sampler stands."""

from collections.abc import Sequence
from typing import Protocol

from nas.record import Proposal
from nas.search_spaces.architecture import Architecture


class Sampler(Protocol):
    """Proposes candidates and learns from what became of them.

    ``ask`` may be called ahead of ``tell``, and every proposal is told once. Two samplers made with
    the same arguments and taken through the same calls make the same proposals: that is how a study
    is resumed (``replay``). Not thread-safe; the driver serialises calls.
    """

    name: str
    """For example ``optuna.nsga2``; recorded with every proposal."""

    def ask(self) -> tuple[Proposal, Architecture]:
        """The next candidate. Its number counts up from 0."""

    def tell(self, number: int, values: Sequence[float] | None, violation: float) -> None:
        """What became of a proposal.

        `values` are the objectives in the study's order and in their own directions, or None for a
        trial that has none (failed, or rejected before it was evaluated). `violation` is 0 where
        all limits hold, else how far they are broken, as the sum of relative excesses.
        """

    def replay(self, proposal: Proposal) -> None:
        """Take a recorded proposal for the answer of the next ``ask``."""
