"""The store in dicts, for tests and for studies that need not outlive their process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from threading import RLock
from typing import Any, TypeVar

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
)
from nas.search_spaces.architecture import Architecture
from nas.spending import Spending
from nas.store import encoding, latency_rows, refusals, versions
from nas.store.base import Asked, Point, Told, TrialQuery

Latency = TypeVar("Latency", PartLatency, ModelLatency)


@dataclass
class _Study:
    """One study and all that belongs to it."""

    record: StudyRecord
    """Without its counts of trials."""
    key: str | None
    requested: dict[str, Any] = field(default_factory=dict)
    """The spec with which it was created."""
    versions: list[SpaceVersion] = field(default_factory=list)
    """Of its space; empty until the first change."""
    asked: dict[int, Asked] = field(default_factory=dict)
    log: list[Asked | Told] = field(default_factory=list)
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    curves: dict[int, dict[str, tuple[CurvePoint, ...]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    spendings: list[Spending] = field(default_factory=list)

    def change(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)

    def show(self) -> StudyRecord:
        evaluated = sum(trial.evaluated for trial in self.trials.values())
        counts = {"trials": evaluated, "proposals": len(self.trials)}
        counts["space_version"] = max(1, len(self.versions))
        return self.record.model_copy(update=counts, deep=True)

    def architectures(self) -> set[str]:
        proposed = {asked.architecture for asked in self.asked.values()}
        return proposed | {trial.architecture for trial in self.trials.values()}

    def environments(self) -> set[str]:
        return {t.environment for t in self.trials.values() if t.environment is not None}


class MemoryStore:
    """The protocol of ``base.Store``, kept in this process only."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._studies: dict[str, _Study] = {}
        self._architectures: dict[str, Architecture] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        self._put: dict[str, dict[str, Any]] = {}
        """Every environment ever put: a running trial may name one whose last study was deleted."""
        self._devices: dict[str, dict[str, Any]] = {}
        self._parts: dict[tuple[str, Setting], PartLatency] = {}
        self._models: dict[tuple[str, Setting], ModelLatency] = {}

    def create_study(self, name: str, spec: Mapping[str, Any], key: str | None) -> StudyRecord:
        plain = encoding.from_json(encoding.to_json(spec))
        with self._lock:
            for there in self._studies.values():
                if key is not None and there.key == key:
                    if (there.record.name, there.requested) != (name, plain):
                        raise refusals.key_used(key, there.record.name)
                    return there.show()
            if name in self._studies:
                raise refusals.name_taken(name)
            record = StudyRecord(name=name, spec=plain, state="running", created=encoding.now())
            self._studies[name] = _Study(record, key, requested=plain)
            return self._studies[name].show()

    def study(self, name: str) -> StudyRecord:
        with self._lock:
            return self._study(name).show()

    def studies(self) -> list[StudyRecord]:
        with self._lock:
            return [study.show() for study in reversed(self._studies.values())]

    def set_state(self, name: str, state: StudyState, reason: str | None = None) -> None:
        with self._lock:
            self._study(name).change(state=state, reason=reason)
            self.add_event(name, "state", {"state": state, "reason": reason})

    def add_seconds(self, name: str, seconds: float) -> None:
        with self._lock:
            study = self._study(name)
            study.change(seconds=study.record.seconds + seconds)

    def delete_study(self, name: str) -> None:
        with self._lock:
            gone = self._study(name)
            del self._studies[name]
            for unused in gone.architectures() - self._named(_Study.architectures):
                self._architectures.pop(unused, None)
            for unused in gone.environments() - self._in_use():
                self._environments.pop(unused, None)

    def change_space(self, name: str, spec: Mapping[str, Any], version: SpaceVersion) -> None:
        plain = encoding.from_json(encoding.to_json(spec))
        with self._lock:
            study = self._study(name)
            known = self.space_versions(name)
            if (version.version, version.entries) != (len(known) + 1, len(study.log)):
                raise refusals.space_moved_on(name)
            study.versions = [*known, version.model_copy(deep=True)]
            study.change(spec=plain)
            self.add_event(name, "space", versions.event(version))

    def space_versions(self, name: str) -> list[SpaceVersion]:
        with self._lock:
            study = self._study(name)
            found = study.versions or [versions.first(study.record)]
            return [version.model_copy(deep=True) for version in found]

    def ask(self, study: str, proposal: Proposal, architecture: Architecture) -> None:
        encoding.to_json(proposal.model_dump())  # refuses what a file could not hold
        with self._lock:
            there = self._study(study)
            if proposal.number in there.asked:
                raise refusals.asked_already(study, proposal.number)
            entry = Asked(proposal.model_copy(deep=True), architecture.id)
            self._architectures[architecture.id] = architecture
            there.asked[proposal.number] = entry
            there.log.append(entry)

    def finish(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        kept = encoding.check_record(record)
        with self._lock:
            study = self._study(record.study)
            if record.number in study.trials:
                raise refusals.finished_already(record.study, record.number)
            self._put_trial(study, kept, curves, told)

    def advance(
        self,
        record: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None = None,
    ) -> None:
        kept = encoding.check_record(record)
        with self._lock:
            study = self._study(record.study)
            before = self.trial(record.study, record.number)
            if before.state != "stopped":
                raise refusals.not_stopped(record.study, record.number, before.state)
            self._put_trial(study, kept, curves, told)
            if before.environment is not None and before.environment not in self._in_use():
                self._environments.pop(before.environment, None)

    def _put_trial(
        self,
        study: _Study,
        kept: TrialRecord,
        curves: Mapping[str, Sequence[CurvePoint]],
        told: Told | None,
    ) -> None:
        if kept.environment in self._put:
            self._environments[kept.environment] = self._put[kept.environment]
        study.trials[kept.number] = kept
        known = study.curves.setdefault(kept.number, {})
        known.update({task: tuple(points) for task, points in curves.items() if points})
        study.log.append(told or Told(kept.number))
        self.add_event(kept.study, "trial", encoding.trial_event(kept))

    def amend(self, study: str, number: int, measurements: Sequence[Measurement]) -> TrialRecord:
        with self._lock:
            changed = {"measurements": tuple(measurements)}
            kept = encoding.check_record(self.trial(study, number).model_copy(update=changed))
            self._study(study).trials[number] = kept
            self.add_event(study, "amended", encoding.trial_event(kept))
        return kept.model_copy(deep=True)

    def log(self, study: str) -> list[Asked | Told]:
        with self._lock:
            entries = list(self._study(study).log)
        return [
            Asked(entry.proposal.model_copy(deep=True), entry.architecture)
            if isinstance(entry, Asked)
            else entry
            for entry in entries
        ]

    def trials(self, study: str, query: TrialQuery) -> tuple[list[TrialRecord], int]:
        with self._lock:
            trials = list(self._study(study).trials.values())
        found = _sort([trial for trial in trials if _matches(trial, query)], query)
        end = None if query.count is None else query.offset + query.count
        return [t.model_copy(deep=True) for t in found[query.offset : end]], len(found)

    def trial(self, study: str, number: int) -> TrialRecord:
        with self._lock:
            trials = self._study(study).trials
            if number not in trials:
                raise refusals.no_trial(study, number, trials)
            return trials[number].model_copy(deep=True)

    def front_values(self, study: str, metrics: Sequence[str]) -> list[Point]:
        with self._lock:
            trials = list(self._study(study).trials.values())
        points = []
        for trial in trials:
            values = [trial.value(metric) for metric in metrics]
            if trial.state == "complete" and None not in values:
                known = tuple(value for value in values if value is not None)
                points.append(Point(trial.number, trial.architecture, known))
        return sorted(points)

    def curves(self, study: str, number: int) -> dict[str, tuple[CurvePoint, ...]]:
        with self._lock:
            there = self._study(study)
            if number not in there.curves:
                raise refusals.no_trial(study, number, there.trials)
            return dict(there.curves[number])

    def architecture(self, id: str) -> Architecture:
        with self._lock:
            if id not in self._architectures:
                raise refusals.no_architecture(id, list(self._architectures))
            return self._architectures[id]

    def put_environment(self, environment: Mapping[str, Any]) -> str:
        plain = encoding.from_json(encoding.to_json(environment))
        key = encoding.content_id(plain)
        with self._lock:
            self._put[key] = self._environments[key] = plain
        return key

    def environment(self, id: str) -> dict[str, Any]:
        with self._lock:
            if id not in self._environments:
                raise refusals.no_environment(id, list(self._environments))
            return encoding.to_plain(self._environments[id])

    def forget_weights(self, study: str, numbers: Sequence[int]) -> None:
        with self._lock:
            trials = self._study(study).trials
            for number in set(numbers) & set(trials):
                trials[number] = trials[number].model_copy(update={"weights": None})

    def add_spending(self, study: str, spending: Spending) -> None:
        with self._lock:
            self._study(study).spendings.append(spending)

    def spendings(self, study: str) -> list[Spending]:
        with self._lock:
            return list(self._study(study).spendings)

    def add_event(self, study: str, kind: str, data: Mapping[str, Any]) -> Event:
        plain = encoding.to_plain(data)
        with self._lock:
            events = self._study(study).events
            event = Event(
                sequence=len(events), study=study, kind=kind, at=encoding.now(), data=plain
            )
            events.append(event)
        return event.model_copy(deep=True)

    def events(self, study: str, after: int = -1) -> list[Event]:
        with self._lock:
            found = self._study(study).events[max(0, after + 1) :]
        return [event.model_copy(deep=True) for event in found]

    def put_device(self, record: Mapping[str, Any]) -> str:
        plain = encoding.from_json(encoding.to_json(record))
        key = encoding.content_id(plain)
        with self._lock:
            self._devices[key] = plain
        return key

    def device(self, key: str) -> dict[str, Any]:
        with self._lock:
            if key not in self._devices:
                raise refusals.no_device(key, list(self._devices))
            return encoding.to_plain(self._devices[key])

    def put_part_latencies(self, found: Sequence[PartLatency]) -> None:
        latency_rows.check(found)
        with self._lock:
            self._parts |= {(row.part, row.setting): _in_utc(row) for row in found}

    def part_latencies(self, setting: Setting) -> list[PartLatency]:
        with self._lock:
            found = [row for (_, at), row in self._parts.items() if at == setting]
        return sorted(found, key=lambda row: row.part)

    def put_model_latencies(self, found: Sequence[ModelLatency]) -> None:
        latency_rows.check(found)
        with self._lock:
            self._models |= {(row.architecture, row.setting): _in_utc(row) for row in found}

    def model_latencies(self, setting: Setting) -> list[ModelLatency]:
        with self._lock:
            found = [row for (_, at), row in self._models.items() if at == setting]
        return [row.model_copy(deep=True) for row in sorted(found, key=lambda r: r.architecture)]

    def close(self) -> None:
        """Nothing to release."""

    def _study(self, name: str) -> _Study:
        if name not in self._studies:
            raise refusals.no_study(name, list(self._studies))
        return self._studies[name]

    def _in_use(self) -> set[str]:
        """Environments that a trial or a time names."""
        timed = (*self._parts.values(), *self._models.values())
        return self._named(_Study.environments) | {
            row.environment for row in timed if row.environment is not None
        }

    def _named(self, ids: Callable[[_Study], set[str]]) -> set[str]:
        return set().union(*(ids(study) for study in self._studies.values()))


def _in_utc(row: Latency) -> Latency:
    return row.model_copy(update={"at": row.at.astimezone(UTC)}, deep=True)


def _matches(trial: TrialRecord, query: TrialQuery) -> bool:
    if query.states and trial.state not in query.states:
        return False
    for metric, low, high in query.limits:
        value = trial.value(metric)
        if value is None or not _within(value, low, high):
            return False
    return True


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _sort(trials: list[TrialRecord], query: TrialQuery) -> list[TrialRecord]:
    """By the query's key; equal ones by number, ones without the metric last."""
    trials = sorted(trials, key=lambda trial: trial.number)
    if query.sort in ("number", "seconds", "started"):
        return sorted(trials, key=lambda t: getattr(t, query.sort), reverse=query.descending)
    measured = [(value, t) for t in trials if (value := t.value(query.sort)) is not None]
    measured.sort(key=lambda pair: pair[0], reverse=query.descending)
    return [t for _, t in measured] + [t for t in trials if t.value(query.sort) is None]
