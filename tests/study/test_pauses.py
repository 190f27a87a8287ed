"""Studies whose trainings pause: which make sense, and where each rung stops."""

import pytest
from pydantic import ValidationError

from nas.pauses import stretch
from nas.runner import Runner
from nas.service import Service
from nas.settings import Settings
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import FakeEvaluator, small_study

TEXT = {"kind": "text", "context": 32}
RECALL = {"kind": "recall", "context": 32, "pairs": 4}


def study(*rungs, resume=True, task=(TEXT, RECALL)):
    given = {**small_study(), "budget": {"trials": 8}, "objectives": [{"metric": "text.loss"}]}
    named = [{"kind": "train", **rung} for rung in rungs]
    return StudySpec.model_validate({**given, "task": task, "rungs": named, "resume": resume})


def stretches(spec):
    return [
        (kind, found.start, found.stop, found.whole.steps)
        for training in spec.trainings
        for kind in training.tasks
        for found in [stretch(spec.trainings, training, kind, 32, resume=spec.resume)]
    ]


def test_rungs_are_stretches_of_the_longest_training_of_their_task():
    spec = study({"tokens": 1024}, {"task": "text", "tokens": 4000}, {"tokens": 8192})
    assert stretches(spec) == [
        ("text", 0, 2, 16),
        ("recall", 0, 2, 16),
        ("text", 2, 8, 16),
        ("text", 8, 16, 16),
        ("recall", 2, 16, 16),
    ]


def test_a_pause_is_counted_in_the_larger_steps_of_a_long_training():
    spec = study({"tokens": 20_000}, {"tokens": 800_000})
    found = stretch(spec.trainings, spec.trainings[0], "text", 32, resume=True)
    assert found.whole.sequences == 32  # 1024 tokens, where a training of 20,000 takes 512
    assert (found.start, found.stop, found.whole.steps) == (0, 20, 781)
    assert not found.is_last


def test_without_resume_each_rung_is_a_training_of_its_own():
    spec = study({"tokens": 1024}, {"tokens": 8192}, resume=False)
    assert stretches(spec) == [
        ("text", 0, 2, 2),
        ("recall", 0, 2, 2),
        ("text", 0, 16, 16),
        ("recall", 0, 16, 16),
    ]


@pytest.mark.parametrize(
    "rungs",
    [
        pytest.param([{"tokens": 1024}], id="one"),
        pytest.param(
            [{"task": "text", "tokens": 1024}, {"task": "recall", "tokens": 4096}], id="each once"
        ),
    ],
)
def test_trainings_of_which_none_goes_on_are_refused(rungs):
    with pytest.raises(ValidationError, match="add a training rung with fewer tokens"):
        study(*rungs)
    assert not study(*rungs, resume=False).resume


def test_one_task_with_two_rungs_is_enough():
    spec = study(
        {"task": "text", "tokens": 1024},
        {"task": "text", "tokens": 4096},
        {"task": "recall", "tokens": 512},
    )
    assert spec.resume
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


def test_two_rungs_that_end_at_the_same_step_are_refused():
    with pytest.raises(ValidationError) as refused:
        study({"tokens": 2000}, {"tokens": 2100}, {"tokens": 8192})
    said = str(refused.value)
    assert "train@2100 would train text no further" in said
    assert "ends after step 4" in said
    assert "multiple of 512 tokens" in said
    assert study({"tokens": 2000}, {"tokens": 2100}, {"tokens": 8192}, resume=False)


def test_a_study_from_before_there_were_pauses_has_none():
    stored = StudySpec.model_validate(small_study()).model_dump(mode="json")
    assert stored.pop("resume") is False
    assert StudySpec.model_validate(stored).resume is False


def test_deleting_a_study_deletes_its_checkpoints_and_no_others(tmp_path):
    store = MemoryStore()
    service = Service(store, Settings(home=tmp_path), Runner(store, tmp_path, FakeEvaluator))
    spec = StudySpec.model_validate(small_study())
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    store.set_state(spec.name, "stopped")
    for name in (spec.name, "other"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "0-text.safetensors").touch()
    service.delete_study(spec.name)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["other"]
