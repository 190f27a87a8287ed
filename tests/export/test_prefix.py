"""The header of an exported prefix speaks of that prefix, not of the whole model."""

from datetime import UTC, datetime

from nas.describe import one_line
from nas.exporting import header_of
from nas.record import Measurement
from nas.search_spaces.nesting import at_prefix
from nas.study import StudySpec
from nas.views import TrialView
from tests.support.fake import small_study

VALUES = {"params": 9.0, "text.loss": 2.0, "text.loss@prefix0": 3.0, "text.loss@prefix1": 2.5}


def test_only_the_scores_of_the_prefix_are_claimed() -> None:
    data = small_study()
    space = data["space"]
    assert isinstance(space, dict)
    space["ffn"] = {"kind": "nested", "ffn": {"kind": "swiglu", "hidden": 64}}
    spec = StudySpec.model_validate(data)
    whole = spec.space.example(0)
    trial = TrialView(
        study="small",
        number=3,
        architecture=whole.id,
        answers={},
        state="complete",
        proposer="uniform",
        measurements=tuple(
            Measurement(metric=metric, value=value, unit="x", stage="train")
            for metric, value in VALUES.items()
        ),
        started=datetime.now(UTC),
        seconds=1.0,
        description=one_line(whole),
        architecture_json=whole,
        curves={},
        environment_json=None,
    )
    small = at_prefix(whole, 0)
    header = header_of(spec, trial, small, 0)
    assert [(m.metric, m.value) for m in header.measurements] == [("text.loss", 3.0)]
    assert header.description == one_line(small) != trial.description
    assert header_of(spec, trial, whole, None).measurements == trial.measurements
