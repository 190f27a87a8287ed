"""What a study knows of a candidate before anything is trained or measured."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from nas.evaluators.static import PEAK, peak_measurement, static_values
from nas.pareto import Floats
from nas.samplers.encoding import ArchitectureEncoder
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec

Compose = Callable[[Architecture], Mapping[str, float] | None]
"""Times of a candidate by metric, if they are known without a measurement; else None."""


class StudyKnowledge:
    """Implements ``samplers.base.Knowledge``: features of the architecture, objectives and limits
    that have a closed form, and composed times where `compose` knows them.

    Only what `compose` says may change while a study runs; everything else follows from the spec.
    A sampler that has to make the same proposals when it is replayed uses composed times for
    screening at most, and records in its state what it used.
    """

    def __init__(self, spec: StudySpec, compose: Compose | None = None) -> None:
        self.spec = spec
        self.compose = compose
        self.encoder = ArchitectureEncoder(spec.space, context=spec.target.longest)
        self._objectives = [objective.metric for objective in spec.objectives]
        self._limited = [limit.metric for limit in spec.limits]

    def features(self, member: Architecture) -> Floats:
        """[F] of ``ArchitectureEncoder``."""
        return self.encoder.features(member)

    def values(self, member: Architecture) -> Floats:
        """[M] objectives in closed form or composed; NaN for the others."""
        known = self._known(member, self._objectives)
        return np.array([known.get(metric, math.nan) for metric in self._objectives], dtype=float)

    def violation(self, member: Architecture) -> float:
        """The sum of the relative excesses over the limits whose metric is known."""
        known = self._known(member, self._limited)
        excesses = (
            limit.excess(known[limit.metric]) for limit in self.spec.limits if limit.metric in known
        )
        return math.fsum(excesses)

    def _known(self, member: Architecture, wanted: list[str]) -> dict[str, float]:
        target = self.spec.target
        known: dict[str, float] = dict(static_values(member, target))
        if PEAK in wanted:
            known[PEAK] = peak_measurement(member, target).value
        if self.compose is not None and not set(wanted) <= set(known):
            known |= self.compose(member) or {}
        return known
