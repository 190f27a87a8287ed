"""The same seed trains the same model, bit for bit, whatever mixes its tokens."""

from typing import Any

import pytest
import torch

from nas.evaluators.build import initialise
from nas.evaluators.schedule import Batching
from nas.evaluators.tasks.recall.spec import Recall
from nas.evaluators.train import train
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


def trained(instance: Instance, seed: int = 0) -> tuple[Any, list[torch.Tensor]]:
    model = initialise(architecture_with(instance), seed)
    data = Recall(vocab=VOCAB, context=CONTEXT, pairs=4, test_sequences=8).open(seed)
    numbers = {"peak": 1e-3, "context": CONTEXT, "seed": seed}
    return train(model, data, batching=Batching(3, 4), **numbers), list(model.parameters())


@pytest.mark.parametrize("instance", EXAMPLES, ids=str)
def test_training_repeats_bit_for_bit(instance: Instance) -> None:
    first, weights = trained(instance)
    torch.rand(7)  # what was drawn before a training does not matter
    again, same = trained(instance)
    assert first == again
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert first.curve != trained(instance, seed=1)[0].curve
