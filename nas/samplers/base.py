"""The protocols around samplers: what they search, what they know before asking, what they are.

F features, M objectives
"""

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from nas.pareto import Floats
from nas.record import Proposal
from nas.search_spaces.axes import Axis, Draw


class Member(Protocol):
    """One point of a space: an architecture, or a row of a recorded table."""

    @property
    def id(self) -> str:
        """Equal for equal members, however they were proposed."""


MemberT = TypeVar("MemberT", bound=Member)
Decoded = TypeVar("Decoded", bound=Member, covariant=True)
Known = TypeVar("Known", bound=Member, contravariant=True)


class Space(Protocol[Decoded]):
    """What a sampler proposes members of: a search space, or a recorded table."""

    @property
    def axes(self) -> Mapping[str, Axis]:
        """Every question that `decode` may ask, by name."""

    def decode(self, draw: Draw) -> Decoded:
        """The member that some answers stand for."""


class Knowledge(Protocol[Known]):
    """What is known of a member before anything is trained or measured."""

    def features(self, member: Known) -> Floats:
        """[F] numbers that tell members apart; F and their meaning are the same for all of a
        space, and each number is finite."""

    def values(self, member: Known) -> Floats:
        """[M] values of the objectives in the study's order; NaN for what only an evaluation
        tells."""

    def violation(self, member: Known) -> float:
        """How far limits that need no evaluation are broken; 0 where all of them hold."""


@runtime_checkable
class Growing(Protocol):
    """Knowledge that changes while a study runs, at moments that a replay repeats: values and
    violations, never features."""

    @property
    def edition(self) -> int:
        """Another number whenever something has changed."""


class Observation(NamedTuple, Generic[MemberT]):
    """What another study found out about a member, or about something that is no member here."""

    member: MemberT
    values: tuple[float, ...]
    """Objectives in the study's order and in their own directions; NaN where one is not known."""
    violation: float
    """Of the limits whose metrics are known, as in `Sampler.tell`."""


@runtime_checkable
class LearnsBefore(Protocol[MemberT]):
    """A sampler that can learn from other studies before it is first asked."""

    def learn(self, known: Sequence[Observation[MemberT]]) -> None:
        """Takes in what other studies found, once and before any other call; a resumed study does
        so again before its replay, with the same observations."""


class Sampler(Protocol[Decoded]):
    """Proposes candidates and learns from what became of them.

    ``ask`` may be called ahead of ``tell``. Two samplers made with the same arguments and taken
    through the same calls make the same proposals: that is how a study is resumed (``replay``).
    Not thread-safe; the driver serialises calls.
    """

    name: str
    """For example ``optuna.nsga2``; recorded with every proposal."""

    def ask(self) -> tuple[Proposal, Decoded]:
        """The next candidate. Its number counts up from 0."""

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        """What became of a proposal.

        `values` are the objectives in the study's order and in their own directions, or None for a
        trial that has none (failed, or rejected before it was evaluated). `violation` is 0 where
        all limits hold, else how far they are broken, as the sum of relative excesses. `rung` is
        None where the proposal went all the way; else the number, from 0, of the rung on which it
        was stopped, and the values are those reached there. A proposal that is taken further is
        told again.
        """

    def replay(self, proposal: Proposal) -> None:
        """Take a recorded proposal for the answer of the next ``ask``. One that another proposer
        made counts as a point that was tried, not as a step of the sampler's own."""

    def skip(self, number: int) -> None:
        """Count the next number without a proposal. Nothing is told of it: what was proposed under
        it in an earlier version of the space is no member any more."""
