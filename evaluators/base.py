"""What an evaluator is: a pure function from an architecture to measurements, in named stages.

Torch-free: the driver and the API know evaluators only through these types. The real evaluator runs
each stage in a worker process (``worker.py``); tests use a fake one that answers in microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from nas.record import Measurement
from nas.search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from nas.evaluators.composed.parts import Part
    from nas.evaluators.composed.records import ModelLatency, PartLatency
    from nas.evaluators.composed.settings import Mode

Direction: TypeAlias = Literal["minimize", "maximize"]
Stage: TypeAlias = str
"""``static`` is closed form and free; then come the study's rungs (``nas.rungs``): ``steps``,
``scores``, ``latency``, and trainings, whose names begin with ``train``."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A quantity that a study can minimise, maximise, limit or just record."""

    name: str
    unit: str
    direction: Direction
    """Which way is better, unless an objective says otherwise."""
    stage: Stage
    description: str


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a learning curve."""

    step: int
    tokens: int
    loss: float
    """Training loss in nats, mean since the previous point."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage found."""

    measurements: tuple[Measurement, ...]
    curves: Mapping[str, tuple[CurvePoint, ...]] = field(default_factory=dict)
    """Learning curves by task."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, device, dtype, threads, implementation: what the numbers depend on."""
    weights: str | None = None
    """Where the trained weights were saved, if they were."""
    halted_seconds: float = 0.0
    """How long the stage stood still while something was timed."""


class EvaluationFailed(Exception):
    """A candidate that died, hung, diverged or ran out of memory. Recorded; the study goes on."""

    def __init__(self, stage: str, kind: str, message: str) -> None:
        super().__init__(f"{stage}: {kind}: {message}")
        self.stage = stage
        self.kind = kind
        """``died``, ``timeout``, ``diverged``, ``out_of_memory`` or ``error``."""
        self.message = message
        self.halted_seconds = 0.0
        """As in `StageResult`."""


class Evaluator(Protocol):
    """Evaluates candidates of one study. Safe to call from several threads at once."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Everything that `run` may measure, all stages together."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages in the order in which they should run, cheap ones first."""

    def run(
        self, stage: Stage, architecture: Architecture, number: int, *, repeat: int = 0
    ) -> StageResult:
        """One stage for one trial; `repeat` counts further seeds. Raises EvaluationFailed."""

    def latency(self, architecture: Architecture) -> StageResult:
        """Of what need not be a candidate of the study. Raises EvaluationFailed."""

    def measure_parts(
        self, parts: "Sequence[Part]", modes: "Sequence[Mode]"
    ) -> "list[PartLatency]":
        """Times of parts on the study's target. Raises EvaluationFailed."""

    def measure_models(
        self, architectures: Sequence[Architecture], modes: "Sequence[Mode]"
    ) -> "list[ModelLatency]":
        """Times of whole models, to fit a composition of parts on. Raises EvaluationFailed."""

    def halt(self) -> None:
        """Asks stages that run or begin to stand still at the next place where they can, until
        `go_on`; returns at once. Those in which something is timed do not."""

    def go_on(self) -> None:
        """Ends the halt."""

    @property
    def halted(self) -> int:
        """How many stages stand still now; always 0 for an evaluator whose stages cannot."""

    def forget(self, number: int) -> None:
        """A trial will not be resumed: its checkpoints may go. Those of trials that were never
        paused are not there, which is no error."""

    def close(self) -> None:
        """Ends the worker processes."""
