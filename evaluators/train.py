"""Proxy training: one plain loop for every candidate and task."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.evaluators.base import CurvePoint, EvaluationFailed
from nas.evaluators.captured import CapturedSteps
from nas.evaluators.gate import open_gate
from nas.evaluators.optimiser import AdamW
from nas.evaluators.packing import packed
from nas.evaluators.schedule import Batching, rate_at
from nas.evaluators.step import CLIP_NORM, EagerSteps, Losses, Steps, autocast
from nas.evaluators.tasks.data import ALL, Batch, Sums, Tally, TaskData

WEIGHT_DECAY = 0.1
CURVE_POINTS = 32
DIVERGED_NATS = 3.0
"""A loss this far above that of the first step is no setback any more."""
TEST_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Trained:
    """What training found; the model itself was changed in place."""

    curve: tuple[CurvePoint, ...]
    scores: Mapping[str, float]
    """By metric. A nested model has ``metric@prefix0``, ``metric@prefix1`` ... in addition; the
    metric itself is that of the whole model."""


def train(
    model: Any,
    data: TaskData,
    *,
    batching: Batching,
    peak: float,
    context: int,
    seed: int,
    bfloat16: bool = False,
) -> Trained:
    """Trains on the device where the model is. Raises EvaluationFailed ``diverged``."""
    run = TrainingRun(
        model, data, batching=batching, peak=peak, context=context, seed=seed, bfloat16=bfloat16
    )
    run.advance(batching.steps)
    return run.trained()


class TrainingRun:
    """A training that may pause after any step. Batches follow from the number of the step, so
    what has to be kept is `tensors` and `numbers`; the device's random generators are among them.
    """

    def __init__(
        self,
        model: Any,
        data: TaskData,
        *,
        batching: Batching,
        peak: float,
        context: int,
        seed: int,
        bfloat16: bool = False,
        gate: Callable[[], None] = open_gate,
        cuda: Any = None,
    ) -> None:
        """On the device where the model is; `batching` is that of the whole training. `gate` is
        passed between two steps and two held-out batches, and may take its time. `cuda` is
        ``torch.cuda``, or stands in for it, where steps are to be captured and replayed."""
        self.device = next(model.parameters()).device
        self.model = data.reader(model).to(self.device)
        self.data = data
        self.batching = batching
        self.peak = peak
        self.context = context
        self.bfloat16 = bfloat16
        self._gate = gate
        self.step = 0
        """Steps made."""
        self._optimizer = AdamW(self.model.parameters(), weight_decay=WEIGHT_DECAY)
        self._nested = NestedPrefix(self.model)
        self._prefixes = random.Random(seed)
        self._progress = Progress(batching, context)
        self._losses = Losses(self._progress.note, self.device)
        self._steps: Steps = EagerSteps(self.model, self._optimizer, bfloat16=bfloat16)
        if cuda is not None:
            self._steps = CapturedSteps(
                self.model,
                self._optimizer,
                bfloat16=bfloat16,
                variants=self._nested.count,
                cuda=cuda,
            )

    def advance(self, stop: int) -> None:
        """Trains until `stop` steps are made in all. Raises EvaluationFailed ``diverged``."""
        self.model.train()
        for step in range(self.step, stop):
            self._gate()
            batch = self.data.train_batch(step, self.batching.sequences)
            prefix = self._prefixes.randrange(self._nested.count)
            self._nested.use(prefix)
            rate = rate_at(step, self.batching.steps, self.peak)
            loss = self._steps.take(batch, rate, variant=prefix, left=stop - step)
            self._losses.add(step, loss)
            self.step = step + 1
        self._losses.read()
        self._steps.release()

    @property
    def form(self) -> dict[str, Any]:
        """How the steps were run, for the record: see `Steps.said`."""
        return self._steps.said()

    def trained(self) -> Trained:
        """The curve so far, and how the model does on held-out data now."""
        scores = _scores(
            self.model, self._nested, self.data, self.context, self.bfloat16, self._gate
        )
        return Trained(self._progress.curve(), scores)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and moments themselves, and the states of the random generators."""
        weights = {f"model.{name}": each for name, each in self.model.state_dict().items()}
        moments = {f"optimizer.{name}": each for name, each in self._optimizer.state().items()}
        generators = {"random.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return {**weights, **moments, **generators}

    def numbers(self) -> dict[str, Any]:
        """The rest of what a paused training needs, as JSON."""
        return {"step": self.step, "progress": self._progress.state()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Takes a run that has not begun to where another was that had these."""
        for name, own in self.tensors().items():
            if not name.startswith("random."):
                own.copy_(tensors[name])
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self.step = int(numbers["step"])
        for _ in range(self.step):
            self._prefixes.randrange(self._nested.count)
        self._progress.restore(numbers["progress"])


def tokens_per_second(
    model: Any, data: TaskData, *, batching: Batching, context: int, bfloat16: bool = False
) -> float:
    """Pace of training: the quickest of a few steps, which change nothing. Raises EvaluationFailed
    ``diverged`` where a loss or a gradient is not finite."""
    device = next(model.parameters()).device
    model = data.reader(model).to(device).train()
    optimizer = AdamW(model.parameters(), weight_decay=0.0)
    seconds = []
    for step in range(batching.steps + 1):  # the first one also warms up
        tokens, targets, *lengths = data.train_batch(step, batching.sequences)
        started = time.perf_counter()
        with autocast(device, bfloat16), packed(model, *lengths):
            loss = model.loss(tokens.to(device), targets.to(device))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM).item()
        optimizer.step(0.0)
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
        if not math.isfinite(loss.item()) or not math.isfinite(norm):
            raise diverged(
                f"loss {loss.item():.3g}, gradient norm {norm:.3g} with the first weights"
            )
    return batching.sequences * context / min(seconds[1:])


class NestedPrefix:
    """All nested FFNs of a model at once. A model without any has one prefix: itself.

    A nested module has `prefix_count` and `set_prefix(index)`, which takes an index past its last
    prefix for the last; the last is the whole.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules: list[Any] = [m for m in model.modules() if hasattr(m, "set_prefix")]
        self.count = max([int(m.prefix_count) for m in self.modules], default=1)

    def use(self, index: int) -> None:
        """Puts a prefix in force everywhere."""
        for module in self.modules:
            module.set_prefix(index)


class Progress:
    """Collects the losses into a curve and stops a run that has diverged."""

    def __init__(self, batching: Batching, context: int) -> None:
        self.steps = batching.steps
        self.step_tokens = batching.sequences * context
        self.interval = max(1, math.ceil(batching.steps / CURVE_POINTS))
        self._start: float | None = None
        self._since: list[float] = []
        self._points: list[CurvePoint] = []

    def note(self, step: int, loss: float) -> None:
        """The loss of a step. Raises EvaluationFailed ``diverged``."""
        if not math.isfinite(loss):
            raise diverged(f"the loss became {loss} at step {step + 1} of {self.steps}")
        if self._start is None:
            self._start = loss
        self._since.append(loss)
        if len(self._since) < self.interval and step + 1 < self.steps:
            return
        mean = sum(self._since) / len(self._since)
        self._since.clear()
        self._points.append(CurvePoint(step + 1, (step + 1) * self.step_tokens, mean))
        if mean > self._start + DIVERGED_NATS:
            raise diverged(
                f"the loss rose from {self._start:.3g} to {mean:.3g} nats by step {step + 1} "
                f"of {self.steps}"
            )

    def curve(self) -> tuple[CurvePoint, ...]:
        """At most 32 points; each the mean since the one before, auxiliary losses included. The
        last point of a training that is paused may stand for fewer steps than the others."""
        if not self._since:
            return tuple(self._points)
        step = (self._points[-1].step if self._points else 0) + len(self._since)
        mean = sum(self._since) / len(self._since)
        return (*self._points, CurvePoint(step, step * self.step_tokens, mean))

    def state(self) -> dict[str, Any]:
        """What a later `restore` needs, as JSON."""
        points = [(point.step, point.tokens, point.loss) for point in self._points]
        return {"start": self._start, "since": list(self._since), "points": points}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from where another was."""
        self._start = state["start"]
        self._since = list(state["since"])
        self._points = [CurvePoint(*point) for point in state["points"]]


def diverged(message: str) -> EvaluationFailed:
    """The failure of a run whose loss cannot be used."""
    return EvaluationFailed("train", "diverged", message)


def _scores(
    model: Any,
    nested: NestedPrefix,
    data: TaskData,
    context: int,
    bfloat16: bool,
    gate: Callable[[], None],
) -> dict[str, float]:
    found: dict[str, float] = {}
    batches = data.test_batches(max(1, TEST_BATCH_TOKENS // context))
    for index in range(nested.count):  # the whole model comes last and stays in force
        nested.use(index)
        scores = data.score(evaluate(model, data, batches, bfloat16=bfloat16, gate=gate))
        found.update(scores)
        if nested.count > 1:
            found.update({f"{name}@prefix{index}": value for name, value in scores.items()})
    return found


@torch.inference_mode()
def evaluate(
    model: Any,
    data: TaskData,
    batches: Sequence[Batch],
    *,
    bfloat16: bool = False,
    gate: Callable[[], None] = open_gate,
) -> dict[str, Tally]:
    """Loss and hits on held-out data, by group of targets. `model` is a `TaskData.reader`; `gate`
    is passed before each batch."""
    device = next(model.parameters()).device
    model.eval()
    sums = Sums()
    for tokens, targets, *lengths in batches:
        gate()
        tokens, targets = tokens.to(device), targets.to(device)
        with autocast(device, bfloat16), packed(model, *lengths):
            output = model(tokens)
        sums.add(data.judge(output, targets), data.groups(tokens, targets, *lengths))
    tallies = sums.tallies()
    if not math.isfinite(tallies[ALL].loss):
        raise diverged("the loss on held-out data is not finite")
    return tallies
