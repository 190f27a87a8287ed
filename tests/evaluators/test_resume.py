"""A study whose trainings pause: rungs in changing workers give what one training gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas.evaluators.checkpoints import Checkpoints
from nas.evaluators.stages import StageRunner
from nas.evaluators.worker import ProcessEvaluator
from nas.record import Measurement
from nas.study import StudySpec
from tests.evaluators.test_stages import study

LONGEST = [
    {"kind": "train", "task": "recall", "tokens": 2048},
    {"kind": "train", "task": "text", "tokens": 16384},
]
PAUSED = [
    {"kind": "train", "tokens": 1024},
    LONGEST[0],
    {"kind": "train", "task": "text", "tokens": 4000},
    LONGEST[1],
]
STEP_TOKENS = 512


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_of(text_file: Path, rungs: Any = PAUSED, **changes: Any) -> StudySpec:
    changes = {"resume": True, "objectives": [{"metric": "text.loss"}], **changes}
    return study(text_file, rungs=rungs, **changes)


def runner(spec: StudySpec, folder: Path) -> StageRunner:
    given = spec.model_dump(mode="json")
    return StageRunner(spec=given, data_dir=str(folder), threads=1, keep_weights=True)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints" / "small").glob("*"))


def values(measurements: tuple[Measurement, ...]) -> dict[str, tuple[float, Any, Any]]:
    return {m.metric: (m.value, m.low, m.high) for m in measurements}


def test_rungs_in_changing_workers_are_one_training(
    text_file: Path, tmp_path: Path, architecture: Any
) -> None:
    candidate, folder = architecture(dim=16, depth=1), tmp_path / "paused"
    spec = made_of(text_file)
    found, left = {}, []
    for stages in (spec.stages[:1], spec.stages[1:]):
        evaluator = ProcessEvaluator(spec, data_dir=folder)  # with another worker than before
        for stage in stages:
            found[stage] = evaluator.run(stage, candidate, 3)
            left.append(files(folder))
        evaluator.close()
    both = ["3-recall.safetensors", "3-text.safetensors"]
    assert left == [both, both[1:], both[1:], []]

    whole = runner(made_of(text_file, LONGEST, resume=False), tmp_path / "whole")
    given = candidate.model_dump(mode="json")
    recall, text = (
        whole.run(stage, given, 3) for stage in ("train.recall@2048", "train.text@16384")
    )
    last = found["train.text@16384"]
    assert values(found["train.recall@2048"].measurements) == values(recall.measurements)
    assert values(last.measurements) == values(text.measurements)
    assert "text.train_loss@extrapolated50" in values(last.measurements)
    assert last.curves == text.curves
    mine, theirs = (
        load_file(base / "weights/small/3.safetensors") for base in (folder, tmp_path / "whole")
    )
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)

    early = found["train.text@4000"]
    assert {m.metric for m in early.measurements} >= {
        "text.loss@4000tokens",
        "text.train_loss@4000tokens",
    }
    assert not [m for m in early.measurements if "extrapolated" in m.metric]
    assert early.curves["text@4000tokens"][-1].tokens == 8 * STEP_TOKENS
    assert early.weights is None
    noted = {key: value for each in found.values() for key, value in each.environment.items()}
    assert noted["checkpoint.text@1024tokens"]["from_step"] == 0
    assert noted["checkpoint.text@1024tokens"]["bytes"] > 1000
    assert noted["checkpoint.recall"] == {"from_step": 2, "to_step": 4}
    assert noted["checkpoint.text"] == {"from_step": 8, "to_step": 32}
    training = early.environment["training"]
    assert training["resume"] is True
    assert training["steps"] == {
        "text@1024tokens": 2,
        "recall@1024tokens": 2,
        "recall": 4,
        "text@4000tokens": 8,
        "text": 32,
    }


def test_a_pause_is_scored_on_the_schedule_of_the_longest_training(
    text_file: Path, tmp_path: Path, architecture: Any
) -> None:
    given = architecture(dim=16, depth=1).model_dump(mode="json")
    paused = runner(made_of(text_file), tmp_path).run("train@1024", given, 0)
    alone = runner(made_of(text_file, resume=False), tmp_path).run("train@1024", given, 0)
    assert alone.curves["text@1024tokens"][-1].tokens == 1024
    assert paused.curves["text@1024tokens"][-1].tokens == 1024
    assert values(paused.measurements) != values(alone.measurements)
    assert "resume" not in alone.environment["training"]
    assert not [key for key in alone.environment if key.startswith("checkpoint")]


def test_a_repeat_leaves_no_checkpoint_and_takes_none(
    text_file: Path, tmp_path: Path, architecture: Any
) -> None:
    given = architecture(dim=16, depth=1).model_dump(mode="json")
    paused = runner(made_of(text_file), tmp_path)
    paused.run("train@1024", given, 0)
    kept = files(tmp_path)
    again = paused.run("train@1024", given, 0, repeat=1)
    last = paused.run("train.text@16384", given, 0, repeat=1)
    assert files(tmp_path) == kept
    whole = runner(made_of(text_file, LONGEST, resume=False), tmp_path)
    alone = whole.run("train.text@16384", given, 0, repeat=1)
    assert last.curves == alone.curves
    assert again.curves["text@1024tokens"] == last.curves["text"][:2]
    assert not [key for key in last.environment if key.startswith("checkpoint")]


def test_a_text_that_has_changed_begins_the_training_again(
    text_file: Path, tmp_path: Path, architecture: Any
) -> None:
    given = architecture(dim=16, depth=1).model_dump(mode="json")
    runner(made_of(text_file), tmp_path).run("train@1024", given, 0)
    text_file.write_text(text_file.read_text().swapcase())
    found = runner(made_of(text_file), tmp_path).run("train.text@4000", given, 0)
    said = found.environment["checkpoint.text@4000tokens"]
    assert (said["from_step"], said["restarted"]) == (
        0,
        "the checkpoint is that of another training",
    )


def test_a_trial_that_is_forgotten_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "small")
    kept.forget(1)  # of what was never paused
    kept.folder.mkdir(parents=True)
    names = [
        "1-text.safetensors",
        "1-recall.123.part",
        "11-text.safetensors",
        "-1-text.safetensors",
    ]
    for name in names:
        (kept.folder / name).touch()
    kept.forget(1)
    assert files(tmp_path) == ["-1-text.safetensors", "11-text.safetensors"]
    kept.forget(-1)
    assert files(tmp_path) == ["11-text.safetensors"]


def test_the_evaluator_forgets_a_trial(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProcessEvaluator, "_start", lambda self: None)
    path = Checkpoints(tmp_path, "small").path(4, "text")
    path.parent.mkdir(parents=True)
    path.touch()
    ProcessEvaluator(made_of(text_file), data_dir=tmp_path).forget(4)
    assert files(tmp_path) == []
