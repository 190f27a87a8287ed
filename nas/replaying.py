"""A study's proposals derived again from its log alone, to see whether it can be reproduced.

The driver itself goes through the log, as it does when a study is resumed, with a sampler that is
made to propose what it would otherwise be handed. A version of the space has a sampler of its own.
"""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from nas.driver import Driver
from nas.driver.foreseeing import ComposedTimes
from nas.driver.sampling import sampler_of
from nas.evaluators.machine import versions as library_versions
from nas.record import Proposal, SpaceVersion
from nas.samplers import Sampler
from nas.samplers.base import LearnsBefore, Observation
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.space import SearchSpace
from nas.store.base import Asked, Store, Told, TrialQuery
from nas.study import StudySpec
from nas.views import Difference, ReplayView


def replay(store: Store, spec: StudySpec) -> ReplayView:
    """Derives every proposal of the sampler again, up to the first that comes out otherwise."""
    versions = store.space_versions(spec.name)
    log = store.log(spec.name)
    ends = [version.entries for version in versions[1:]] + [len(log)]
    name, own, identical, difference = "", 0, 0, None
    for count, end in enumerate(ends, start=1):
        checked = _play(store, spec, versions[:count], log[:end])
        name = checked.name
        own += checked.own
        if difference is None:
            identical += checked.identical
            difference = checked.difference
    return ReplayView(
        study=spec.name,
        sampler=name,
        proposals=sum(isinstance(entry, Asked) for entry in log),
        own=own,
        identical=identical,
        first_difference=difference,
        recorded_versions=_recorded_versions(store, spec.name),
        versions=library_versions(),
    )


def _play(
    store: Store,
    spec: StudySpec,
    versions: Sequence[SpaceVersion],
    log: Sequence[Asked | Told],
) -> "Checking":
    """Plays the part of a log that belongs to the last of some versions."""
    is_latest = versions[-1].version == store.study(spec.name).space_version
    space = spec.space if is_latest else SearchSpace.model_validate(versions[-1].space)
    then = spec.model_copy(update={"space": space})
    times = ComposedTimes(then)
    sampler = sampler_of(then, times)
    kind = CheckingLearner if isinstance(sampler, LearnsBefore) else Checking
    checking = kind(sampler, version=versions[-1].version)
    past: Any = _Past(store, versions, log)
    # a driver that only rebuilds evaluates nothing; it asks which stages there are
    no_evaluator: Any = SimpleNamespace(stages=then.stages)
    stop = threading.Event()
    Driver(then, checking, no_evaluator, past, stop=stop, times=times).rebuild()
    return checking


class Checking:
    """A sampler that proposes again what it is handed, as long as that comes out the same.

    Implements ``samplers.base.Sampler`` as far as a replay needs it.
    """

    def __init__(self, sampler: Sampler[Architecture], *, version: int) -> None:
        self.sampler = sampler
        self.name = sampler.name
        self.version = version
        self.own = 0
        """Proposals in the log that the sampler made itself."""
        self.identical = 0
        self.difference: Difference | None = None

    def ask(self) -> tuple[Proposal, Architecture]:
        """The next candidate."""
        return self.sampler.ask()

    def replay(self, proposal: Proposal) -> None:
        """Has the sampler make the proposal again, where it made it."""
        own = self._is_own(proposal)
        self.own += own
        if self.difference is not None:
            return
        if not own:
            self.sampler.replay(proposal)
            return
        derived, _ = self.sampler.ask()
        if derived.answers == proposal.answers:
            self.identical += 1
            return
        self.difference = Difference(
            number=proposal.number,
            version=self.version,
            recorded=proposal.answers,
            derived=derived.answers,
        )

    def skip(self, number: int) -> None:
        """As ``Sampler.skip``."""
        if self.difference is None:
            self.sampler.skip(number)

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        """As ``Sampler.tell``; after a difference nothing more is learned."""
        if self.difference is None:
            self.sampler.tell(number, values, violation, rung)

    def _is_own(self, proposal: Proposal) -> bool:
        """A uniform study has the name of the fallback; one of another sampler may say how it was
        helped."""
        helped = proposal.fallback is not None and self.name == "uniform"
        return proposal.proposer == self.name and not helped


class CheckingLearner(Checking):
    """The same for a sampler that learns from other studies first."""

    def learn(self, known: Sequence[Observation[Architecture]]) -> None:
        """Takes in what other studies found."""
        assert isinstance(self.sampler, LearnsBefore)
        self.sampler.learn(known)


class _Past:
    """A store as it was when a version of the space ended."""

    def __init__(
        self, store: Store, versions: Sequence[SpaceVersion], log: Sequence[Asked | Told]
    ) -> None:
        self._store = store
        self._versions = list(versions)
        self._log = list(log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def space_versions(self, name: str) -> list[SpaceVersion]:
        return self._versions

    def log(self, study: str) -> list[Asked | Told]:
        return self._log


def _recorded_versions(store: Store, study: str) -> dict[str, str]:
    """Of the libraries, from the first trial with an environment that names them."""
    for record in store.trials(study, TrialQuery())[0]:
        if record.environment is not None:
            return dict(store.environment(record.environment).get("versions", {}))
    return {}
