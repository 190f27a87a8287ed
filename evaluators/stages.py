"""What happens inside a worker: one stage of one candidate. Everything heavy is held here, once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nas.errors import BadInput
from nas.evaluators import machine, precision, schedule
from nas.evaluators.base import CurvePoint, Stage, StageResult
from nas.evaluators.build import initialise
from nas.evaluators.checkpoints import Checkpoints
from nas.evaluators.composed.parts import Part
from nas.evaluators.composed.records import ModelLatency, PartLatency
from nas.evaluators.composed.settings import Mode
from nas.evaluators.determinism import deterministic
from nas.evaluators.device_memory import memory_share
from nas.evaluators.extrapolation import ENDING, extrapolate
from nas.evaluators.gate import Gate, open_gate, wait_until_idle
from nas.evaluators.latency.prefill_decode import check_device
from nas.evaluators.metrics import EXTRAPOLATED_FROM
from nas.evaluators.pausing import Checkpoint, train_stretch
from nas.evaluators.pricing import Pricing
from nas.evaluators.scores.run import scores
from nas.evaluators.scores.spec import STAGE, UNIT
from nas.evaluators.step import CLIP_NORM
from nas.evaluators.tasks import AnyTask
from nas.evaluators.tasks.data import TaskData
from nas.evaluators.train import WEIGHT_DECAY, TrainingRun, tokens_per_second
from nas.evaluators.tuned import tuning_of
from nas.evaluators.weights import save_weights, weights_path
from nas.kernels.runtime.impl import use_impl
from nas.kernels.runtime.tuning import use_tuning
from nas.pauses import Stretch, stretch
from nas.record import Measurement
from nas.rungs import StepsRung, Training
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec


class StageRunner:
    """The stages of one study. Torch is imported and the data opened when it is made."""

    def __init__(
        self,
        *,
        spec: Mapping[str, Any],
        data_dir: str,
        threads: int,
        keep_weights: bool,
        accept_noise: bool = False,
        capture_steps: bool = True,
        gate: Gate | None = None,
    ) -> None:
        """`spec` is a StudySpec as JSON; `capture_steps` as in `Settings`; trainings and scores
        pass the `gate`, and so may be halted while another worker times something.

        Raises:
            Unavailable: the target's device is not there.
            BadInput: the data of a task cannot be had, or the study's workers do not fit into the
                memory of the device.
        """
        self.spec = StudySpec.model_validate(spec)
        self.data_dir = Path(data_dir)
        self.keep_weights = keep_weights
        self.device = self.spec.target.device
        check_device(self.device)
        self.capture_steps = capture_steps
        _bound_device_memory(self.spec)
        self.gate: Callable[[], None] = gate or open_gate
        if gate:
            gate.settle = _settling(self.device, threads)
        torch.set_num_threads(threads)
        cache = self.data_dir / "cache"
        self.data = {task.kind: task.open(self.spec.seed, cache) for task in self.spec.tasks}
        objectives = [objective.metric for objective in self.spec.objectives]
        self.pricing = Pricing(
            target=self.spec.target.model_dump(mode="json"),
            seed=self.spec.seed,
            wanted=[*objectives, *(limit.metric for limit in self.spec.limits)],
            accept_noise=accept_noise,
        )
        self._repeated: tuple[str, int, TaskData] | None = None
        self.tuning = tuning_of(self.spec, self.data_dir)
        self.environment = self._environment(threads)

    def run(
        self, stage: Stage, architecture: Mapping[str, Any], number: int, repeat: int = 0
    ) -> StageResult:
        """One stage of one trial; `architecture` is JSON. Raises EvaluationFailed."""
        resolved = Architecture.model_validate(architecture)
        with use_impl(self.spec.target.impl), use_tuning(self.tuning):
            if stage == "latency":
                return self.latency(architecture)
            if stage == "scores":
                return self.scores(resolved)
            if stage == "steps":
                return self.steps(resolved)
            training = next(each for each in self.spec.trainings if each.stage == stage)
            return self.train(resolved, number, training, repeat)

    def latency(self, architecture: Mapping[str, Any]) -> StageResult:
        """Builds the candidate and times it at every context of the target."""
        found = self.pricing.latency(architecture)
        return StageResult(
            found.measurements, environment={**self.environment, **found.environment}
        )

    def parts(self, parts: Sequence[Part], modes: Sequence[Mode]) -> list[PartLatency]:
        """See `Pricing.parts`."""
        return self.pricing.parts(parts, modes)

    def models(
        self, architectures: Sequence[Mapping[str, Any]], modes: Sequence[Mode]
    ) -> list[ModelLatency]:
        """See `Pricing.models`."""
        return self.pricing.models(architectures, modes)

    def scores(self, architecture: Architecture) -> StageResult:
        """Training-free scores on the first task. Raises EvaluationFailed."""
        task, seed = self.spec.tasks[0], self.spec.seed
        found = scores(
            architecture, self.data[task.kind], seed=seed, device=self.device, gate=self.gate
        )
        measured = tuple(
            Measurement(metric=f"score.{name}", value=value, unit=UNIT, stage=STAGE)
            for name, value in found.values.items()
        )
        return StageResult(
            measured, environment={**self.environment, "scores": {"absent": found.reasons}}
        )

    def steps(self, architecture: Architecture) -> StageResult:
        """A few training steps on the first task, for the pace. Raises EvaluationFailed."""
        rung = next(rung for rung in self.spec.ladder if isinstance(rung, StepsRung))
        task, longest = self.spec.tasks[0], self.spec.trainings[-1]
        sequences = schedule.batching(longest.tokens, task.tokens_per_sequence).sequences
        pace = tokens_per_second(
            initialise(architecture, self.spec.seed).to(self.device),
            self.data[task.kind],
            batching=schedule.Batching(rung.steps, sequences),
            context=task.tokens_per_sequence,
            bfloat16=precision.uses_bfloat16(architecture.dim, self.device),
        )
        found = Measurement(
            metric="steps.tokens_per_second", value=pace, unit="tokens/s", stage="steps"
        )
        return StageResult((found,), environment=self.environment)

    def train(
        self, architecture: Architecture, number: int, training: Training, repeat: int
    ) -> StageResult:
        """Trains the candidate on each task from the same first weights, or from where the rung
        before stopped. The weights of the last training's first task are kept, unless it is a
        repeat."""
        measurements: list[Measurement] = []
        curves: dict[str, tuple[CurvePoint, ...]] = {}
        paused: dict[str, Any] = {}
        steps: dict[str, Any] = {}
        weights, seed = None, self.spec.seed + repeat
        bfloat16 = precision.uses_bfloat16(architecture.dim, self.device)
        for kind, suffix in zip(training.tasks, training.suffixes, strict=True):
            task = next(task for task in self.spec.tasks if task.kind == kind)
            model = initialise(architecture, seed).to(self.device)
            own = self._stretch(training, task)
            run = TrainingRun(
                model,
                self._data(kind, seed),
                batching=own.whole,
                peak=schedule.peak_rate(architecture.dim),
                context=task.tokens_per_sequence,
                seed=seed,
                bfloat16=bfloat16,
                gate=self.gate,
                cuda=torch.cuda if self._captures else None,
            )
            with deterministic(self.device) as without:
                if self.spec.resume and not repeat:
                    checkpoint = self._checkpoint(run, architecture, number, task)
                    paused[f"checkpoint.{kind}{suffix}"] = train_stretch(run, own, checkpoint)
                else:  # what runs once more leaves nothing behind
                    run.advance(own.stop)
                trained = run.trained()
            steps[f"{kind}{suffix}"] = self._step_form(run, without)
            curves[f"{kind}{suffix}"] = trained.curve
            measurements += _measurements(task, trained.scores, training.stage, suffix)
            measurements += _of_curve(task, trained.curve, training.stage, suffix)
            last = training == self.spec.trainings[-1] and not repeat and number >= 0
            if self.keep_weights and last and weights is None:
                weights = weights_path(self.spec.name, number)
                save_weights(model, self.data_dir / weights, {"architecture": architecture.id})
        environment = {**self._trained_with(bfloat16, steps), **paused}
        return StageResult(tuple(measurements), curves, environment, weights)

    def _stretch(self, training: Training, task: AnyTask) -> Stretch:
        every, context = self.spec.trainings, task.tokens_per_sequence
        return stretch(every, training, task.kind, context, resume=self.spec.resume)

    def _checkpoint(
        self, run: TrainingRun, architecture: Architecture, number: int, task: AnyTask
    ) -> Checkpoint:
        """Of a trial on a task. What it says of the training is whatever decides its numbers, so
        that one from before an update or of a changed text is not taken."""
        training = {
            "architecture": architecture.id,
            "task": task.model_dump(mode="json"),
            "data": _about(self.data[task.kind]),
            "steps": run.batching.steps,
            "sequences_per_step": run.batching.sequences,
            "bfloat16": run.bfloat16,
            "seed": self.spec.seed,
            "device": _device_name(self.device),
            "impl": self.spec.target.impl,
            **({"tuning": self.tuning.version} if self.tuning.choices else {}),
            "versions": self.environment["versions"],
        }
        path = Checkpoints(self.data_dir, self.spec.name).path(number, task.kind)
        return Checkpoint(path, training)

    def _data(self, kind: str, seed: int) -> TaskData:
        """Of a task under a seed; that of the last repeat is kept."""
        if seed == self.spec.seed:
            return self.data[kind]
        if self._repeated is None or self._repeated[:2] != (kind, seed):
            task = next(task for task in self.spec.tasks if task.kind == kind)
            self._repeated = (kind, seed, task.open(seed, self.data_dir / "cache"))
        return self._repeated[2]

    @property
    def _captures(self) -> bool:
        return self.device == "cuda" and self.capture_steps

    def _step_form(self, run: TrainingRun, without: set[str]) -> dict[str, Any]:
        """How the steps of a training on a GPU were run."""
        form = run.form if self._captures else {"form": "eager: NAS_CAPTURE_STEPS is false"}
        return {**form, **({"nondeterministic": sorted(without)} if without else {})}

    def _trained_with(self, bfloat16: bool, steps: Mapping[str, Any]) -> dict[str, Any]:
        """`steps` says how steps were run, by training; on a CPU there is one way only."""
        training = {
            **self.environment["training"],
            "dtype": "bfloat16 autocast" if bfloat16 else "float32",
            **({"step": dict(steps)} if self.device == "cuda" else {}),
        }
        return {**self.environment, "training": training}

    def _environment(self, threads: int) -> dict[str, Any]:
        return {
            **machine.environment(),
            "device": _device_name(self.device),
            "threads": threads,
            "impl": self.spec.target.impl,
            **({"tuning": self.tuning.version} if self.spec.target.impl == "triton" else {}),
            "seed": self.spec.seed,
            "target": self.spec.target.model_dump(mode="json"),
            "tasks": {kind: _about(data) for kind, data in self.data.items()},
            "training": {
                "optimizer": "AdamW",
                "learning_rate": schedule.RATE_RULE,
                "schedule": schedule.SCHEDULE_RULE,
                "weight_decay": WEIGHT_DECAY,
                "clip_norm": CLIP_NORM,
                "dtype_rule": precision.RULE,
                **({"resume": True} if self.spec.resume else {}),
                **self._batchings(),
            },
        }

    def _batchings(self) -> dict[str, dict[str, int]]:
        """Steps, and sequences in each, of every training: ``text``, ``text@20000tokens``."""
        tasks = {task.kind: task for task in self.spec.tasks}
        found = {
            f"{kind}{suffix}": self._stretch(each, tasks[kind])
            for each in self.spec.trainings
            for kind, suffix in zip(each.tasks, each.suffixes, strict=True)
        }
        return {
            "steps": {name: each.stop for name, each in found.items()},
            "sequences_per_step": {name: each.whole.sequences for name, each in found.items()},
        }


def _measurements(
    task: AnyTask, scores: Mapping[str, float], stage: str, suffix: str
) -> list[Measurement]:
    units = {metric.name: metric.unit for metric in task.metrics}
    return [
        Measurement(
            metric=f"{name}{suffix}", value=value, unit=units[name.partition("@")[0]], stage=stage
        )
        for name, value in scores.items()
    ]


def _of_curve(
    task: AnyTask, curve: Sequence[CurvePoint], stage: str, suffix: str
) -> Iterator[Measurement]:
    """The loss at the end of the training, and what its first parts let expect of it."""
    last = [point.loss for point in curve if point.tokens > (1 - ENDING) * curve[-1].tokens]
    name, loss, unit = f"{task.kind}.train_loss", sum(last) / len(last), task.loss_unit
    yield Measurement(metric=f"{name}{suffix}", value=loss, unit=unit, stage=stage)
    if suffix:
        return
    for percent in EXTRAPOLATED_FROM:
        start = [point for point in curve if 100 * point.tokens <= percent * curve[-1].tokens]
        try:
            value, low, high = extrapolate(start, curve[-1].tokens)
        except BadInput:  # too short a curve says nothing
            continue
        named = {"metric": f"{name}@extrapolated{percent}", "unit": unit, "stage": stage}
        yield Measurement(value=value, low=low, high=high, **named)


def _about(data: TaskData) -> dict[str, Any]:
    levels = {metric: level._asdict() for metric, level in data.levels().items()}
    return {**data.describe(), "levels": levels}


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else machine.cpu_model()


def _settling(device: str, threads: int) -> Callable[[], object]:
    """What waits until nothing runs on by itself after the last operator."""
    if device == "cuda":
        return torch.cuda.synchronize
    return wait_until_idle if threads > 1 else open_gate


def _bound_device_memory(spec: StudySpec) -> None:
    """The bound on a candidate's memory holds on the device too. Raises BadInput."""
    if spec.target.device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        workers, gib = spec.driver.workers, spec.budget.candidate_gib
        share = memory_share(total, workers=workers, candidate_gib=gib)
        torch.cuda.set_per_process_memory_fraction(share)
