"""What a new study is filled in with before it is stored, so that what is stored stands alone."""

from nas.study import StudySpec

CONTROL_SHARE = 0.1
LEAST_FOR_CONTROL = 20
"""Trials of the budget. Below, a tenth would be one trial, which tells nothing."""


def completed(spec: StudySpec) -> StudySpec:
    """The study with the control arm that it gets unless it says otherwise."""
    if spec.control_arm is not None:
        return spec
    share = CONTROL_SHARE if spec.budget.trials >= LEAST_FOR_CONTROL else 0.0
    return spec.model_copy(update={"control_arm": share})
