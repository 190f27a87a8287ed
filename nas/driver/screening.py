"""What is known of a candidate's limits before anything of it is run: in closed form, and by times
composed of measured parts."""

from nas.driver.foreseeing import Foresees
from nas.driver.limits import measure_for_limits
from nas.evaluators.composed.decide import Interval, least_excess
from nas.evaluators.composed.model import Prediction
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec


class Screen:
    """For one study."""

    def __init__(self, spec: StudySpec, times: Foresees | None = None) -> None:
        self.spec, self.times = spec, times

    def measure(self, architecture: Architecture) -> tuple[Measurement, ...]:
        """The metrics in closed form; with them composed times, if the whole interval of one breaks
        a limit. Where it breaks none or leaves one open, the candidate's evaluation decides."""
        spec = self.spec
        static = measure_for_limits(architecture, spec.target, spec.limits)
        times = (self.times(architecture) if self.times and spec.limits else None) or {}
        breaks = any(
            least_excess(limit, Interval(times[limit.metric].low, times[limit.metric].high))
            for limit in spec.limits
            if limit.metric in times
        )
        if not breaks:
            return static
        return (*static, *(_measurement(metric, time) for metric, time in times.items()))


def _measurement(metric: str, time: Prediction) -> Measurement:
    return Measurement(
        metric=metric, value=time.ms, unit="ms", stage="composed", low=time.low, high=time.high
    )
