"""What a store promises. ``duckdb.py`` is the real one, ``memory.py`` the same in dicts.

All methods may be called from any thread. Each write is one transaction and durable when it
returns. Records are passed by value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nas.evaluators.base import CurvePoint
from nas.evaluators.composed.records import ModelLatency, PartLatency, Setting
from nas.record import (
    Event,
    Measurement,
    Proposal,
    SpaceVersion,
    StudyRecord,
    StudyState,
    TrialRecord,
    TrialState,
)
from nas.search_spaces.architecture import Architecture
from nas.spending import Spending


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """Which trials to return, and in which order."""

    states: tuple[TrialState, ...] = ()
    """Empty is all."""
    limits: tuple[tuple[str, float | None, float | None], ...] = ()
    """(metric, min, max); a trial without the metric does not match."""
    sort: str = "number"
    """``number``, ``seconds``, ``started``, or a metric. Equal trials follow in order of number;
    those without the metric come last."""
    descending: bool = False
    offset: int = 0
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The log entry of a trial that has finished, or was stopped at a rung."""

    number: int
    rung: int | None = None
    """None where it has finished; else the number, from 0, of the deciding rung."""
    values: tuple[float | None, ...] = ()
    """At a rung: what stood for each objective there, in the study's order."""
    passes: bool = False
    """At a rung: whether it goes on whatever the others reach."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The log entry of a proposal."""

    proposal: Proposal
    architecture: str


class Point(NamedTuple):
    """What one complete trial reached, for the Pareto front."""

    number: int
    architecture: str
    values: tuple[float, ...]
    """In the order in which the metrics were asked for."""


class Store(Protocol):
    """The only source of truth about studies."""

    def create_study(self, name: str, spec: Mapping[str, Any], key: str | None) -> StudyRecord:
        """A new study in state ``running``. Called again with the same idempotency key and spec it
        returns the study that exists. Raises Conflict for a name taken, or a key that was used for
        something else."""

    def study(self, name: str) -> StudyRecord:
        """Raises NotFound, naming near matches."""

    def studies(self) -> list[StudyRecord]:
        """All studies, newest first."""

    def set_state(self, name: str, state: StudyState, reason: str | None = None) -> None:
        """Also writes a ``state`` event."""

    def add_seconds(self, name: str, seconds: float) -> None:
        """Adds to the time that the study has run."""

    def delete_study(self, name: str) -> None:
        """Removes the study and everything that belongs to it alone."""

    def change_space(self, name: str, spec: Mapping[str, Any], version: SpaceVersion) -> None:
        """Puts `spec`, which has another space, in place of the study's, keeps the version, and
        writes a ``space`` event. Raises Conflict if it does not follow on the latest version, or
        the log is not as long any more as when it was drawn up."""

    def space_versions(self, name: str) -> list[SpaceVersion]:
        """All versions of the study's space, oldest first; at least one."""

    def ask(self, study: str, proposal: Proposal, architecture: Architecture) -> None:
        """Logs a proposal before anything is done with it, and keeps its architecture. Raises
        Conflict if the number was proposed already."""

    def finish(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        """Writes a trial that has finished or was stopped, its measurements and curves, and logs
        it; `told` is the entry, where it is more than that the trial has finished. Raises Conflict
        if the trial is there already."""

    def advance(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        """The same for a trial that was stopped and has gone on: this record takes the place of the
        old one, and a curve that of the old one of its task. Raises NotFound, and Conflict if the
        trial was not stopped."""

    def amend(self, study: str, number: int, measurements: Sequence[Measurement]) -> TrialRecord:
        """Puts these measurements in place of those of a finished trial, which further runs have
        made more certain. Raises NotFound."""

    def log(self, study: str) -> list[Asked | Told]:
        """Proposals, and trials that were stopped or have finished, in the order in which this
        happened, for replay."""

    def trials(self, study: str, query: TrialQuery) -> tuple[list[TrialRecord], int]:
        """A page of trials that have finished or were stopped, and how many match in all."""

    def trial(self, study: str, number: int) -> TrialRecord:
        """Raises NotFound, saying which numbers exist."""

    def front_values(self, study: str, metrics: Sequence[str]) -> list[Point]:
        """The complete trials that have all of these metrics, in order of number. Repeats, which
        only show another trial's values again, are left out."""

    def curves(self, study: str, number: int) -> dict[str, tuple[CurvePoint, ...]]:
        """Learning curves by task. Raises NotFound."""

    def architecture(self, id: str) -> Architecture:
        """Raises NotFound."""

    def put_environment(self, environment: Mapping[str, Any]) -> str:
        """Keeps an environment once and returns its id (a hash of its content)."""

    def environment(self, id: str) -> dict[str, Any]:
        """Raises NotFound."""

    def forget_weights(self, study: str, numbers: Sequence[int]) -> None:
        """Notes that the weights of some trials are no longer kept."""

    def add_spending(self, study: str, spending: Spending) -> None:
        """Logs what an evaluation trained."""

    def spendings(self, study: str) -> list[Spending]:
        """What evaluations trained, oldest first."""

    def add_event(self, study: str, kind: str, data: Mapping[str, Any]) -> Event:
        """Logs something that happened. NaN and infinity in `data` become None."""

    def events(self, study: str, after: int = -1) -> list[Event]:
        """Events with a sequence number above `after`, oldest first."""

    def put_device(self, record: Mapping[str, Any]) -> str:
        """Keeps the description of a device once and returns its key (a hash of its content)."""

    def device(self, key: str) -> dict[str, Any]:
        """Raises NotFound."""

    def put_part_latencies(self, found: Sequence[PartLatency]) -> None:
        """Keeps times of parts for all studies; each takes the place of an earlier one of the same
        part and setting. Raises ValueError for a time that is not positive."""

    def part_latencies(self, setting: Setting) -> list[PartLatency]:
        """All parts measured in exactly this setting, by id."""

    def put_model_latencies(self, found: Sequence[ModelLatency]) -> None:
        """The same for whole models."""

    def model_latencies(self, setting: Setting) -> list[ModelLatency]:
        """All whole models measured in exactly this setting, by id."""

    def close(self) -> None:
        """Releases the file."""
