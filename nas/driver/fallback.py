"""What the driver proposes when a sampler has nothing new: uniform members, until one is."""

from collections import Counter
from collections.abc import Collection

from nas.driver.limits import closest, violations
from nas.driver.screening import Screen
from nas.record import Measurement, Proposal
from nas.samplers.uniform import generator_of
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RandomDraw, RecordingDraw
from nas.study import StudySpec

STUCK_AFTER = 20
"""Proposals in a row without a new candidate, after which a sampler counts as stuck. A population
that has converged repeats itself a few times in a row; twenty times is no accident."""
DRAWS = 500
"""Uniform members that are drawn then; a hundredth of a space is missed with a chance of 0.7 %."""


class UniformSearch:
    """Draws members of the space until one is new and within the static limits."""

    def __init__(self, spec: StudySpec, screen: Screen | None = None) -> None:
        self.spec = spec
        self.screen = screen or Screen(spec)

    def propose(
        self, number: int, seen: Collection[str], sampler: str
    ) -> tuple[Proposal, Architecture] | str:
        """A proposal that stands in for the sampler's, or in words why there is none.

        `seen` holds the ids of architectures that need no further evaluation.
        """
        generator = generator_of(self.spec.seed, number, "fallback")
        why = f"{sampler} made {STUCK_AFTER} or more proposals in a row without a new candidate"
        repeats: set[str] = set()
        rejected: list[tuple[Measurement, ...]] = []
        for draw in range(1, DRAWS + 1):
            record = RecordingDraw(RandomDraw(generator))
            member = self.spec.space.decode(record)
            measured = self.screen.measure(member)
            if violations(self.spec.limits, measured):
                rejected.append(measured)
            elif member.id in seen:
                repeats.add(member.id)
            else:
                proposal = Proposal(
                    number=number,
                    answers=record.answers,
                    proposer="uniform",
                    fallback=f"{why}; uniform draw {draw} of at most {DRAWS}",
                )
                return proposal, member
        return f"{why}, and neither did {DRAWS} uniform draws: {self._seen(repeats, rejected)}"

    def _seen(self, repeats: set[str], rejected: list[tuple[Measurement, ...]]) -> str:
        parts = []
        if rejected:
            count = "all" if len(rejected) == DRAWS else str(len(rejected))
            parts.append(f"{count} broke limits ({', '.join(self._broken(rejected))})")
        if repeats:
            parts.append(f"the others are {len(repeats)} architectures that were evaluated before")
            if not rejected:
                parts = [f"all are {len(repeats)} architectures that were evaluated before"]
        return "; ".join(parts)

    def _broken(self, rejected: list[tuple[Measurement, ...]]) -> list[str]:
        counts = Counter(
            violation.limit
            for measured in rejected
            for violation in violations(self.spec.limits, measured)
        )
        described = []
        for limit, count in counts.most_common():
            values = [m.value for each in rejected for m in each if m.metric == limit.metric]
            bounds = " ".join(
                f"{name} {bound:,.10g}"
                for name, bound in (("min", limit.min), ("max", limit.max))
                if bound is not None
            )
            described.append(f"{limit.metric} {bounds}: {count}, {closest(limit, values)}")
        return described
