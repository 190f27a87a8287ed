"""What a sampler of the latest space is told of proposals that were made in earlier ones."""

from collections.abc import Sequence

from nas.record import Proposal, SpaceVersion
from nas.samplers.base import MemberT, Sampler


class EarlierSpaces:
    """A sampler's model is made for one space, so it is made anew after a change. A proposal that
    the space still holds comes to it as a point that another proposer tried, under the answers
    that stand for it now; the number of any other is passed over. Where each proposal stands was
    written down with the version, so a replay hands over the same again.
    """

    def __init__(self, versions: Sequence[SpaceVersion]) -> None:
        latest = versions[-1]
        self._from = f"space {latest.version - 1}"
        self._standings = {standing.number: standing for standing in latest.earlier}

    def __contains__(self, number: object) -> bool:
        """Whether the proposal was made in an earlier space."""
        return number in self._standings

    def left_out(self, number: int) -> bool:
        """Whether the latest space does not hold what was proposed under a number."""
        return number in self and self._standings[number].answers is None

    def replay(self, sampler: Sampler[MemberT], proposal: Proposal) -> None:
        """Hands a recorded proposal over."""
        answers = self._standings[proposal.number].answers if proposal.number in self else None
        if proposal.number not in self or (proposal.outside and answers is None):
            sampler.replay(proposal)
            return
        if answers is None:
            sampler.skip(proposal.number)
            return
        proposer = f"{proposal.proposer} in {self._from}"
        sampler.replay(Proposal(number=proposal.number, answers=answers, proposer=proposer))
