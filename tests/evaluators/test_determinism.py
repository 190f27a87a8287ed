"""The same seed trains the same model, bit for bit, whatever mixes its tokens, and also when the
training pauses on the way."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nas.evaluators.build import initialise
from nas.evaluators.pausing import Checkpoint
from nas.evaluators.schedule import Batching
from nas.evaluators.tasks.recall.spec import Recall
from nas.evaluators.train import Trained, TrainingRun
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import CAUSAL, VOCAB, Instance

CONTEXT = 24
EXAMPLES = [i for i in CAUSAL if i.name.split("-in-")[0].endswith("-0") and i.slot != "heads"]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def begun(instance: Instance, seed: int = 0) -> TrainingRun:
    model = initialise(architecture_with(instance), seed)
    data = Recall(vocab=VOCAB, context=CONTEXT, pairs=4, test_sequences=8).open(seed)
    return TrainingRun(model, data, batching=Batching(3, 4), peak=1e-3, context=CONTEXT, seed=seed)


def finished(run: TrainingRun) -> tuple[Trained, list[torch.Tensor]]:
    run.advance(3)
    return run.trained(), list(run.model.parameters())


@pytest.mark.parametrize("instance", EXAMPLES, ids=str)
def test_training_repeats_bit_for_bit_and_goes_on_so_after_a_pause(
    instance: Instance, tmp_path: Path
) -> None:
    first, weights = finished(begun(instance))
    torch.rand(7)  # what was drawn before a training does not matter
    paused = begun(instance)
    paused.advance(2)
    checkpoint = Checkpoint(tmp_path / "0-recall.safetensors", {})
    checkpoint.write(paused)
    resumed = begun(instance)
    torch.rand(7)  # and neither does what was drawn in the pause
    checkpoint.restore(resumed)
    again, same = finished(resumed)
    assert first == again
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert first.curve != finished(begun(instance, seed=1))[0].curve
