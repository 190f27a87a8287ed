"""What a study says and settles before it trains on a GPU. A stand-in takes the GPU's place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils import deterministic as options

from nas.errors import BadInput
from nas.evaluators import captured, stages
from nas.evaluators.build import initialise
from nas.evaluators.determinism import deterministic
from nas.evaluators.device_memory import CONTEXT_GIB, memory_share
from nas.evaluators.stages import StageRunner
from nas.rungs import TrainRung
from nas.settings import Settings
from tests.evaluators.test_stages import study
from tests.support.cuda import FakeCuda

GIB = 2**30


def runner_on_a_gpu(text_file: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> StageRunner:
    """A worker's stages that take the CPU for a GPU."""
    spec = study(text_file).model_dump(mode="json")
    made = StageRunner(
        spec=spec, data_dir=str(text_file.parent), threads=1, keep_weights=False, **given
    )
    monkeypatch.setattr(made, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(stages, "torch", SimpleNamespace(cuda=FakeCuda()))
    monkeypatch.setattr(captured, "LEAST_STEPS", 4)

    def here(architecture: Any, seed: int) -> Any:
        model = initialise(architecture, seed)
        model.to = lambda _: model
        return model

    monkeypatch.setattr(stages, "initialise", here)
    return made


def test_the_record_says_how_the_steps_of_each_training_were_run(
    text_file: Path, architecture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = architecture(dim=16, depth=1)
    made = runner_on_a_gpu(text_file, monkeypatch)
    (training,) = made.spec.trainings
    result = made.train(candidate, -1, training, 0)
    said = result.environment["training"]["step"]
    assert set(said) == {"text", "recall"}
    assert said["text"]["form"] == "cuda_graph"
    assert said["text"]["check"] == "bit for bit"
    assert said["text"]["replayed"] == said["text"]["of"] == 8
    assert said["recall"]["form"] == "cuda_graph"
    assert isinstance(made.spec.ladder[-1], TrainRung)


def test_replays_can_be_switched_off_and_the_record_says_so(
    text_file: Path, architecture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runner_on_a_gpu(text_file, monkeypatch, capture_steps=False)
    (training,) = made.spec.trainings
    result = made.train(architecture(dim=16, depth=1), -1, training, 0)
    said = result.environment["training"]["step"]
    assert said["text"] == {"form": "eager: NAS_CAPTURE_STEPS is false"}
    assert Settings().capture_steps
    monkeypatch.setenv("NAS_CAPTURE_STEPS", "false")
    assert not Settings().capture_steps


def test_operations_without_a_deterministic_form_are_named_and_settings_come_back() -> None:
    def accumulate() -> None:
        torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))

    before = torch.get_deterministic_debug_mode(), options.fill_uninitialized_memory
    with deterministic("cuda") as met:
        assert torch.get_deterministic_debug_mode() == 1
        assert not options.fill_uninitialized_memory
        accumulate()
        accumulate()
    assert met == {"put_"}
    assert before == (torch.get_deterministic_debug_mode(), options.fill_uninitialized_memory)
    with deterministic("cpu") as met:
        assert torch.get_deterministic_debug_mode() == before[0]
        accumulate()
    assert met == set()


def test_other_warnings_are_shown_all_the_same(recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    with deterministic("cuda"):
        warnings.warn("something else", stacklevel=1)
    assert [str(each.message) for each in recwarn] == ["something else"]


@pytest.mark.parametrize(
    ("gib", "workers", "candidate", "share"),
    [(24, 1, 8.0, 8 / 24), (6, 1, 8.0, 1.0), (24, 2, 8.0, 8 / 24), (80, 8, 8.0, 0.1)],
)
def test_each_worker_gets_the_memory_of_a_candidate(
    gib: int, workers: int, candidate: float, share: float
) -> None:
    found = memory_share(gib * GIB, workers=workers, candidate_gib=candidate)
    assert found == pytest.approx(share)


def test_workers_that_do_not_fit_are_refused_with_what_would_fit() -> None:
    with pytest.raises(BadInput) as refused:
        memory_share(24 * GIB, workers=4, candidate_gib=8.0)
    said = refused.value.message
    assert "4 workers (driver.workers) with 8 GiB each (budget.candidate_gib)" in said
    assert "at most 2 workers, or candidate_gib 5.50 or less" in said
    assert memory_share(24 * GIB, workers=2, candidate_gib=8.0) > 0
    assert memory_share(24 * GIB, workers=4, candidate_gib=5.5) > 0
    with pytest.raises(BadInput, match=r"at most 1 workers$"):
        memory_share(GIB, workers=4, candidate_gib=8.0)
    assert CONTEXT_GIB > 0


def test_a_worker_bounds_its_share_of_the_device(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=32 * GIB)
    )
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", told.append)
    changes = {"driver": {"workers": 2}, "budget": {"trials": 1, "candidate_gib": 4.0}}
    spec = study(text_file, **changes)
    stages._bound_device_memory(spec)
    assert told == []
    on_gpu = spec.model_copy(update={"target": spec.target.model_copy(update={"device": "cuda"})})
    stages._bound_device_memory(on_gpu)
    assert told == [0.125]
