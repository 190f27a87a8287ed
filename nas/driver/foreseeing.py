"""Composed times that are known of candidates before anything of them is run.

The library of measured parts grows while a study runs, and other studies add to it. So what is
known comes in editions: each is written into the study's events, with the number of the first
proposal that it counts for, and a replay goes through the same editions. Nothing else of the
library reaches a proposal.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nas.evaluators.composed.composition import Composition
from nas.evaluators.composed.counting import PartCounter
from nas.evaluators.composed.model import Prediction
from nas.record import Event
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec

KIND = "composition"
"""Of the event that holds an edition."""
MOST = 50_000
"""Architectures whose times are remembered at once."""


class Foresees(Protocol):
    """Knows times of candidates that nobody measured."""

    @property
    def edition(self) -> int:
        """Another number whenever what is known has changed."""

    def __call__(self, architecture: Architecture) -> Mapping[str, Prediction] | None:
        """By metric; None where one that the study asks for is not known."""


class ComposedTimes:
    """Implements `Foresees` for one study; without an edition nothing is known. Not thread-safe."""

    def __init__(self, spec: StudySpec) -> None:
        known = spec.metrics
        asked = [o.metric for o in spec.objectives] + [limit.metric for limit in spec.limits]
        times = dict.fromkeys(m for m in asked if known[m].stage == "latency")
        longest = f"@{spec.target.longest}"
        self._names = {metric: metric if "@" in metric else metric + longest for metric in times}
        """By metric of the study: the name of its formula."""
        self._numbers: list[int] = []
        """For each edition the first proposal that it counts for, ascending."""
        self._editions: list[Composition] = []
        self._counter = PartCounter()
        self._known: dict[str, dict[str, Prediction] | None] = {}
        self.edition = 0
        """Counts from 1; 0 while nothing is known."""

    @property
    def latest(self) -> Composition | None:
        """What was learned last."""
        return self._editions[-1] if self._editions else None

    def learn(self, found: Composition, number: int) -> dict[str, Any] | None:
        """Takes in what counts from the proposal `number` on. What to write down of it; None where
        it is nothing new."""
        wanted = {name: found.formulas[name] for name in self._names.values()}
        kept = Composition(found.settings, found.anchor_ms, wanted)
        data = kept.since(self.latest)
        if not data:
            return None
        self._add(kept, number)
        self.go_to(number)
        return {"edition": len(self._editions), "number": number, **data}

    def recall(self, events: Sequence[Event]) -> None:
        """Takes in all editions that a study has written down, before any is learned."""
        for event in events:
            if event.kind == KIND:
                self._add(Composition.after(self.latest, event.data), event.data["number"])

    def go_to(self, number: int) -> None:
        """From now on what was known when the proposal `number` was made, or will be."""
        edition = bisect_right(self._numbers, number)
        if edition != self.edition:
            self.edition = edition
            self._known.clear()

    def __call__(self, architecture: Architecture) -> Mapping[str, Prediction] | None:
        """By metric, as the study calls it."""
        if not self.edition:
            return None
        if architecture.id not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[architecture.id] = self._predict(architecture)
        return self._known[architecture.id]

    def _predict(self, architecture: Architecture) -> dict[str, Prediction] | None:
        counts = self._counter.counts(architecture)
        found = self._editions[self.edition - 1].predict(counts) if counts else None
        return found and {metric: found[name] for metric, name in self._names.items()}

    def _add(self, composition: Composition, number: int) -> None:
        self._editions.append(composition)
        self._numbers.append(number)
