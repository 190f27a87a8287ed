"""An evaluator that answers at once: deterministic numbers made from the closed-form cost."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.evaluators.base import CurvePoint, Metric, Stage, StageResult
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec

SCORE = "score.synflow"


class FakeEvaluator:
    """Larger models get a lower loss and a higher latency; `log` gets a line for each training.

    A shorter training leaves a higher loss, and orders models a little otherwise; the one score
    falls with the loss."""

    def __init__(self, spec: StudySpec, *, log: Path | None = None, seconds: float = 0.0) -> None:
        self.spec = spec
        self.log = log
        self.seconds = seconds
        self.forgotten: list[int] = []

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return self.spec.metrics

    @property
    def stages(self) -> Sequence[Stage]:
        return self.spec.stages

    def run(
        self, stage: Stage, architecture: Architecture, number: int, *, repeat: int = 0
    ) -> StageResult:
        time.sleep(self.seconds / 2)
        environment = {"device": "fake", "impl": "none"}
        if stage == "latency":
            value = architecture.cost(self.spec.target.longest).decode_flops / 1e5
            timed = Measurement(
                metric="decode.latency_ms",
                value=value,
                unit="ms",
                stage=stage,
                low=value * 0.9,
                high=value * 1.1,
                repeats=5,
            )
            return StageResult((timed,), environment=environment)
        if not stage.startswith("train"):
            score = Measurement(metric=SCORE, value=-self.loss(architecture), unit="", stage=stage)
            return StageResult((score,) if stage == "scores" else (), environment=environment)
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{number}\n")
        (training,) = (each for each in self.spec.trainings if each.stage == stage)
        trained, curves = [], {}
        for task, suffix in zip(training.tasks, training.suffixes, strict=True):
            loss = self.loss(architecture, training.tokens if suffix else None)
            metric = f"{task}.loss{suffix}"
            trained.append(Measurement(metric=metric, value=loss, unit="nats", stage=stage))
            curves[task] = (CurvePoint(1, 256, 5.5), CurvePoint(2, 512, loss))
        return StageResult(tuple(trained), curves=curves, environment=environment)

    def loss(self, architecture: Architecture, tokens: int | None = None) -> float:
        """At the end, or after fewer tokens."""
        loss = 1.0 + 100.0 / architecture.cost(1).params ** 0.5
        if tokens is None:
            return loss
        return loss + 100.0 / tokens * (1.0 + int(architecture.id, 16) % 97 / 97)

    def halt(self) -> None:
        """Nothing here can stand still."""

    def go_on(self) -> None:
        pass

    @property
    def halted(self) -> int:
        return 0

    def forget(self, number: int) -> None:
        self.forgotten.append(number)

    def close(self) -> None:
        pass


def small_study(name: str = "small", *, trials: int = 8, **changes: object) -> dict[str, object]:
    """A study over a small space, as a user would post it."""
    return {
        "name": name,
        "space": {
            "dim": {"choice": [16, 32, 48, 64]},
            "depth": {"range": [1, 4]},
            "mixer": {
                "kind": "ratio",
                "background": {"kind": "identity"},
                "placed": {
                    "kind": "attention",
                    "heads": {"choice": [1, 2, 4]},
                    "groups": 1,
                    "head_dim": 8,
                },
                "ratio": {"choice": ["0:1", "1:1", "3:1"]},
            },
            "ffn": {"kind": "swiglu", "hidden": {"times": {"choice": [1, 2, 3]}, "of": "dim"}},
        },
        "task": {"kind": "text", "context": 32},
        "objectives": [{"metric": "text.loss"}, {"metric": "decode.latency_ms"}],
        "target": {"contexts": [32, 64]},
        "budget": {"trials": trials, "train_tokens": 1000},
        "control": False,
        **changes,
    }
