"""Trainings that pause go on from a checkpoint as if they had never been interrupted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.evaluators.build import initialise
from nas.evaluators.pausing import Checkpoint, Unusable, train_stretch
from nas.evaluators.schedule import Batching
from nas.evaluators.tasks.linear_regression.spec import LinearRegression
from nas.evaluators.tasks.masked_text.spec import MaskedText
from nas.evaluators.tasks.recall.spec import Recall
from nas.evaluators.tasks.text.spec import Text
from nas.evaluators.train import Progress, TrainingRun
from nas.pauses import Stretch
from nas.search_spaces.architecture import Architecture

WHOLE = Batching(7, 4)
CONTEXT = 16
Begin = Callable[..., TrainingRun]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def begin(architecture: Any, text_file: Path) -> Begin:
    """A training that has not begun; each call makes the same one."""

    def make(kind: str = "text", *, seed: int = 0, bfloat16: bool = False) -> TrainingRun:
        text = {"corpus": str(text_file), "context": CONTEXT, "test_tokens": 256}
        folder = text_file.parent / "documents"
        folder.mkdir(exist_ok=True)
        for index, line in enumerate(text_file.read_text().splitlines()[:40]):
            (folder / f"{index}.txt").write_text(line + ".")
        tasks: dict[str, Any] = {
            "text": Text(**text),
            "documents": Text(**{**text, "corpus": str(folder)}, documents=True),
            "recall": Recall(vocab=16, context=CONTEXT, pairs=2, test_sequences=8),
            "linear_regression": LinearRegression(dimensions=3, points=6, test_sequences=8),
            "masked_text": MaskedText(**text),
            "nested": Text(**text),
        }
        task = tasks[kind]
        layers = architecture(dim=16, depth=1).model_dump(mode="json")
        if kind == "masked_text":
            layers |= {"family": "encoder", "vocab": task.vocab, "head": {"kind": "masked_token"}}
            layers["layers"][0]["mixer"] = {"kind": "fnet"}
        if kind == "nested":
            whole = layers["layers"][0]["ffn"]
            nested = {"kind": "nested", "ffn": whole, "prefixes": [0.25, 0.5, 1.0]}
            layers["layers"][0]["ffn"] = nested
        return TrainingRun(
            initialise(Architecture.model_validate(layers), seed),
            task.open(seed),
            batching=WHOLE,
            peak=1e-2,
            context=task.tokens_per_sequence,
            seed=seed,
            bfloat16=bfloat16,
        )

    return make


def weights_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    ("kind", "bfloat16"),
    [
        ("text", False),
        ("text", True),
        ("documents", False),
        ("recall", False),
        ("linear_regression", False),
        ("masked_text", False),
        ("nested", False),
    ],
)
def test_a_training_with_pauses_is_the_training_without_any(
    begin: Begin, tmp_path: Path, kind: str, bfloat16: bool
) -> None:
    whole = begin(kind, bfloat16=bfloat16)
    whole.advance(WHOLE.steps)
    checkpoint = Checkpoint(tmp_path / "checkpoints" / f"0-{kind}.safetensors", {"seed": 0})
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        run = begin(kind, bfloat16=bfloat16)
        torch.rand(5)
        said = train_stretch(run, Stretch(WHOLE, start, stop), checkpoint)
        assert (said["from_step"], said["to_step"]) == (start, stop)
        assert "restarted" not in said
        assert said.get("bytes") == (checkpoint.path.stat().st_size if stop < 7 else None)
        trained = run.trained()
        assert trained.curve[-1].step == stop
    assert trained == whole.trained()
    assert same(weights_of(run), weights_of(whole))
    assert list(checkpoint.path.parent.iterdir()) == []


def test_a_score_on_the_way_changes_nothing_after_it(begin: Begin, tmp_path: Path) -> None:
    scored, not_scored = begin("nested"), begin("nested")
    for run in (scored, not_scored):
        run.advance(3)
        if run is scored:
            run.trained()
        run.advance(7)
    assert same(weights_of(scored), weights_of(not_scored))


def test_the_curve_of_a_pause_ends_there_and_leaves_no_trace(begin: Begin) -> None:
    through, paused = Progress(Batching(70, 2), 16), Progress(Batching(70, 2), 16)
    for step in range(70):
        through.note(step, 5.0 - step / 70)
        paused.note(step, 5.0 - step / 70)
        if step == 9:  # points are means of three steps
            assert [point.step for point in paused.curve()] == [3, 6, 9, 10]
            assert paused.curve()[-1].loss == 5.0 - 9 / 70
            assert paused.curve()[-1].tokens == 10 * 32
            state, paused = paused.state(), Progress(Batching(70, 2), 16)
            paused.restore(state)
    assert paused.curve() == through.curve()
    assert len(through.curve()) <= 32


def test_the_generator_of_a_gpu_is_kept_too(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin()
    there = torch.device("cuda")
    told: list[Any] = []
    monkeypatch.setattr(run, "device", there)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor([4, 2]))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *given: told.append(given))
    kept = run.tensors()
    assert kept["random.cuda"].tolist() == [4, 2]
    run.restore(kept, run.numbers())
    assert [(state.tolist(), device) for state, device in told] == [([4, 2], there)]


def damaged(path: Path, what: str) -> None:
    """Does to a checkpoint what a full disk, a crash or a user may do to it."""
    content = bytearray(path.read_bytes())
    if what == "gone":
        path.unlink()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif what == "a bit has turned":
        content[-3] ^= 1
        path.write_bytes(content)
    elif what == "a number has turned":
        at = content.index(b"since")
        digit = next(i for i in range(at, len(content)) if content[i : i + 1].isdigit())
        content[digit] = ord("9") - (content[digit] - ord("0"))
        path.write_bytes(content)
    elif what == "no metadata":
        save_file(load_file(path), path)
    else:
        raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("gone", "there is no checkpoint"),
        ("empty", "cannot be read"),
        ("cut off", "cannot be read"),
        ("a bit has turned", "checksum"),
        ("a number has turned", "checksum"),
        ("no metadata", "cannot be read"),
    ],
)
def test_without_a_usable_checkpoint_the_training_begins_again_and_says_so(
    begin: Begin, tmp_path: Path, what: str, why: str
) -> None:
    checkpoint = Checkpoint(tmp_path / "0-text.safetensors", {})
    train_stretch(begin(), Stretch(WHOLE, 0, 3), checkpoint)
    damaged(checkpoint.path, what)
    whole, again = begin(), begin()
    whole.advance(WHOLE.steps)
    said = train_stretch(again, Stretch(WHOLE, 3, 7), checkpoint)
    assert said["from_step"] == 0
    assert why in said["restarted"]
    assert same(weights_of(again), weights_of(whole))


def test_the_checkpoint_of_another_training_is_not_taken(
    begin: Begin, architecture: Any, tmp_path: Path
) -> None:
    path = tmp_path / "0-text.safetensors"
    train_stretch(begin(seed=1), Stretch(WHOLE, 0, 3), Checkpoint(path, {"seed": 1}))
    run = begin(seed=0)
    said = train_stretch(run, Stretch(WHOLE, 3, 7), Checkpoint(path, {"seed": 0}))
    assert (said["from_step"], said["restarted"]) == (
        0,
        "the checkpoint is that of another training",
    )
    train_stretch(begin(seed=1), Stretch(WHOLE, 0, 3), Checkpoint(path, {}))
    before = weights_of(run)
    with pytest.raises(Unusable, match="other tensors"):
        Checkpoint(path, {}).restore(begin("nested"))
    assert same(before, weights_of(run))


def test_a_checkpoint_of_a_later_stretch_waits_for_it(begin: Begin, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "0-text.safetensors", {})
    train_stretch(begin(), Stretch(WHOLE, 0, 3), checkpoint)
    train_stretch(begin(), Stretch(WHOLE, 3, 5), checkpoint)
    kept = checkpoint.path.read_bytes()
    first = begin()
    said = train_stretch(first, Stretch(WHOLE, 0, 3), checkpoint)
    assert said["restarted"] == "the checkpoint is that of a later step"
    assert checkpoint.path.read_bytes() == kept
    second = begin()
    said = train_stretch(second, Stretch(WHOLE, 3, 5), checkpoint)
    assert (said["from_step"], said["to_step"]) == (5, 5)  # nothing is trained twice
    whole = begin()
    whole.advance(3)
    assert whole.trained() == first.trained()
    whole.advance(5)
    assert whole.trained() == second.trained()


def test_a_checkpoint_that_cannot_be_written_costs_only_itself(
    begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    said = train_stretch(
        begin(), Stretch(WHOLE, 0, 3), Checkpoint(tmp_path / "full" / "0-text.safetensors", {})
    )
    assert "full" in said["not_kept"]
    assert "bytes" not in said
