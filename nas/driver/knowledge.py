"""What a study knows of a candidate before anything is trained or measured."""

import math

import numpy as np

from nas.driver.foreseeing import Foresees
from nas.evaluators.static import PEAK, peak_measurement, static_values
from nas.pareto import Floats
from nas.samplers.encoding import ArchitectureEncoder
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec


class StudyKnowledge:
    """Implements ``samplers.base.Knowledge``: features of the architecture, objectives and limits
    that have a closed form, and composed times where `times` knows them.

    A composed time counts as the value itself. Its interval is about the distance to a measurement
    of the whole model, of which the composition's own error is common to all candidates, so it says
    little on which of two is faster; and whatever reaches the front by it is measured. So a sampler
    does not choose what likelier breaks a limit than not; whoever does is judged by the whole
    interval (``screening.Screen``).
    """

    def __init__(self, spec: StudySpec, times: Foresees | None = None) -> None:
        self.spec = spec
        self.times = times
        self.encoder = ArchitectureEncoder(spec.space, context=spec.target.longest)
        self._objectives = [objective.metric for objective in spec.objectives]
        self._limited = [limit.metric for limit in spec.limits]

    def features(self, member: Architecture) -> Floats:
        """[F] of ``ArchitectureEncoder``."""
        return self.encoder.features(member)

    @property
    def edition(self) -> int:
        """See ``samplers.base.Growing``: of the composed times; all else follows from the spec."""
        return self.times.edition if self.times else 0

    def values(self, member: Architecture) -> Floats:
        """[M] objectives in closed form or composed; NaN for the others."""
        known = self._known(member, self._objectives)
        lacking = [metric for metric in self._objectives if metric not in known]
        if self.times is not None and lacking:
            known |= {metric: time.ms for metric, time in (self.times(member) or {}).items()}
        return np.array([known.get(metric, math.nan) for metric in self._objectives], dtype=float)

    def violation(self, member: Architecture) -> float:
        """The sum of the relative excesses over the limits whose metric is known."""
        known = self._known(member, self._limited)
        found = [
            limit.excess(known[limit.metric]) for limit in self.spec.limits if limit.metric in known
        ]
        if self.times is not None and len(found) < len(self._limited):
            times = self.times(member) or {}
            found += [
                limit.excess(times[limit.metric].ms)
                for limit in self.spec.limits
                if limit.metric in times
            ]
        return math.fsum(found)

    def _known(self, member: Architecture, wanted: list[str]) -> dict[str, float]:
        target = self.spec.target
        known: dict[str, float] = dict(static_values(member, target))
        if PEAK in wanted:
            known[PEAK] = peak_measurement(member, target).value
        return known
