"""Which measured launch choices a study runs with, and what its records say of it."""

from pathlib import Path
from typing import Any

import pytest

from nas.errors import Unavailable
from nas.evaluators.stages import StageRunner
from nas.evaluators.tuned import tuning_of
from nas.kernels.runtime import tuner
from nas.kernels.runtime.tuning import Device, Table, save_table
from nas.study import StudySpec
from tests.support.fake import small_study

DEVICE = Device("NVIDIA H100 80GB HBM3", "9.0", "3.9.0", "0123456789ab")
TABLE = Table().with_choices("linear_attention", "bfloat16 K64", {"mix": (64, 64, 8)})
GPU = {"device": "cuda", "impl": "triton", "contexts": [32]}


def study(target: dict[str, Any], **more: Any) -> StudySpec:
    return StudySpec.model_validate(small_study("small", trials=1) | {"target": target} | more)


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder in which a table lies for a device that stands in for this machine's."""
    monkeypatch.setattr(tuner, "device_here", lambda: DEVICE)
    save_table(tmp_path / "tuning", DEVICE, TABLE)
    return tmp_path


def test_a_study_with_kernels_takes_what_was_measured_on_its_device(tuned: Path) -> None:
    assert tuning_of(study(GPU), tuned) == TABLE
    assert tuning_of(study(GPU), tuned / "elsewhere") == Table()


def test_plain_torch_asks_for_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> Device:
        raise Unavailable("there is no GPU")

    monkeypatch.setattr(tuner, "device_here", absent)
    assert tuning_of(study({"contexts": [32]}), tmp_path) == Table()
    with pytest.raises(Unavailable):
        tuning_of(study(GPU), tmp_path)


def test_composed_times_are_of_the_default_choices(tuned: Path) -> None:
    """They outlive the study, and another one may have measured nothing."""
    composed = study(
        GPU,
        rungs=[{"kind": "latency", "how": "composed"}, {"kind": "train", "tokens": 1000}],
        budget={"trials": 1},
    )
    assert composed.composes_latency
    assert tuning_of(composed, tuned) == Table()


def test_records_say_which_choices_were_in_force(tmp_path: Path) -> None:
    spec = study({"contexts": [32]})
    runner = StageRunner(
        spec=spec.model_dump(mode="json"), data_dir=str(tmp_path), threads=1, keep_weights=False
    )
    assert "tuning" not in runner.environment  # plain torch launches no kernels
    runner.spec = study(GPU)
    assert runner._environment(1)["tuning"] == "not tuned"
    runner.tuning = TABLE
    assert runner._environment(1)["tuning"] == TABLE.version
