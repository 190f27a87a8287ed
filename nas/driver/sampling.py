"""The sampler of a study, with what the study knows of candidates beforehand."""

from nas.choosing import expected_trials
from nas.driver.foreseeing import Foresees
from nas.driver.knowledge import StudyKnowledge
from nas.samplers import Sampler, make_sampler
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec


def sampler_of(spec: StudySpec, times: Foresees | None = None) -> Sampler[Architecture]:
    """A fresh one; two of the same study, taken through the same calls, propose the same. `times`
    are those that the study's driver takes from edition to edition; None knows of none."""
    return make_sampler(
        spec.driver,
        spec.space,
        spec.objectives,
        spec.seed,
        expected_trials(spec),
        constrained=bool(spec.limits),
        knowledge=StudyKnowledge(spec, times) if spec.driver.library == "nas" else None,
    )
