"""All training-free scores of one architecture."""

import copy
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

import torch

from nas.evaluators.build import initialise
from nas.evaluators.gate import open_gate
from nas.evaluators.scores.probe import Probe, Unscorable, finite
from nas.evaluators.scores.spec import SCORES
from nas.evaluators.tasks.data import Batch, TaskData
from nas.search_spaces.architecture import Architecture

BATCHES = 2
SEQUENCES = 8
"""In each batch."""


class Scored(NamedTuple):
    """What was found."""

    values: dict[str, float]
    """By name, without ``score.``."""
    reasons: dict[str, str]
    """Why a score is absent, by name."""


def scores(
    architecture: Architecture,
    data: TaskData,
    *,
    seed: int,
    device: str = "cpu",
    batches: int = BATCHES,
    sequences: int = SEQUENCES,
    gate: Callable[[], None] = open_gate,
) -> Scored:
    """Every score of the weights that `seed` gives, on the first training batches of `data`; means
    over batches. Each score starts from the first weights and from the same random state, so none
    depends on another; torch's random state is left as it was. float32, but for `synflow`. The
    `gate` is passed before each score, and may take its time.

    Raises EvaluationFailed ``diverged`` where a loss or a gradient is not finite.
    """
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    with torch.random.fork_rng([torch.cuda.current_device()] if device == "cuda" else []):
        model = initialise(architecture, seed).to(device)
        first = copy.deepcopy(model.state_dict())
        shown = [_to(device, data.train_batch(index, sequences)) for index in range(batches)]
        for spec in SCORES:
            gate()
            torch.manual_seed(seed)
            model.float().load_state_dict(first)
            model.zero_grad()
            reader = data.reader(model).to(device).train()
            probe = Probe(architecture, model, reader, shown)
            measure = import_module(f"nas.evaluators.scores.{spec.name}").measure
            try:
                values[spec.name] = finite(measure(probe))
            except Unscorable as unscorable:
                reasons[spec.name] = str(unscorable)
    return Scored(values, reasons)


def _to(device: str, batch: Batch) -> Batch:
    tokens, targets, *lengths = batch
    return cast(Batch, (tokens.to(device), targets.to(device), *lengths))
