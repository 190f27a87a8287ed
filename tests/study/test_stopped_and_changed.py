"""Stopped trials after a change of space: only those that the new space holds may go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.runner import Runner
from nas.service import Service
from nas.settings import Settings
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.driving import create, drive, essence, records, study
from tests.support.fake import FakeEvaluator
from tests.support.problems import TINY

OLD: dict[str, Any] = {
    **TINY,
    "vocab": 256,
    "dim": {"choice": [16, 32, 48]},
    "ffn": {"kind": "gelu", "hidden": {"range": [8, 64]}},
}
NEW = {**OLD, "dim": 16}  # the larger ones, which win at every rung, are gone
SHORT, LONG = "train@500", "train@8000"
RUNGS = [{"kind": "train", "tokens": n} for n in (500, 8000)]


def rungs(**changes: Any) -> StudySpec:
    budget = {"trials": 24}
    return study(space=OLD, rungs=RUNGS, promotion={}, budget=budget, control_arm=0, **changes)


def changed(store: MemoryStore, home: Path, spec: StudySpec, space: Any) -> StudySpec:
    runner = Runner(store, home, lambda spec, _: FakeEvaluator(spec))
    Service(store, Settings(home=home), runner).change_space(spec.name, space)
    return StudySpec.model_validate_json(json.dumps(store.study(spec.name).spec))


def begun_and_changed(home: Path) -> tuple[MemoryStore, StudySpec, list[int]]:
    """A study whose space changes after some trials, and those of them that were stopped before
    and are not in its new space."""
    store, spec = MemoryStore(), rungs()
    create(store, spec)
    drive(spec, store, trials=12)
    later = changed(store, home, spec, NEW)
    gone = [r.number for r in records(store, spec) if r.state == "stopped" and _is_gone(r)]
    return store, later, gone


def _is_gone(record: Any) -> bool:
    return record.answers.get("dim", 16) != 16


class Watching(FakeEvaluator):
    """Says which trials went through the last training."""

    finished: list[int]

    def run(self, stage: str, architecture: Any, number: int, *, repeat: int = 0) -> Any:
        if stage == LONG:
            self.finished.append(number)
        return super().run(stage, architecture, number, repeat=repeat)


def watching(into: list[int]) -> Callable[[StudySpec], Watching]:
    def made(spec: StudySpec) -> Watching:
        evaluator = Watching(spec)
        evaluator.finished = into
        return evaluator

    return made


def test_a_stopped_trial_that_the_new_space_lacks_does_not_go_on(tmp_path: Path) -> None:
    store, later, gone = begun_and_changed(tmp_path)
    before = {r.number: r for r in records(store, later)}
    assert len(gone) >= 3
    finished: list[int] = []
    assert drive(later, store, evaluator=watching(finished))[0] == "complete"
    assert finished
    assert not set(gone) & set(finished)
    after = {r.number: r for r in records(store, later)}
    assert [after[number] for number in gone] == [before[number] for number in gone]


def test_who_goes_on_is_the_best_share_of_what_the_new_space_holds(tmp_path: Path) -> None:
    store, later, _ = begun_and_changed(tmp_path)
    drive(later, store)
    reached = [r for r in records(store, later) if r.evaluated and not _is_gone(r)]
    reached.sort(key=lambda r: r.value("text.loss@500tokens") or 0.0)
    best = reached[: len(reached) // 3]
    assert best
    assert {r.state for r in best} == {"complete"}


def test_a_trial_that_a_later_space_holds_again_may_go_on_again(tmp_path: Path) -> None:
    store, later, gone = begun_and_changed(tmp_path)
    back = changed(store, tmp_path, later, {**OLD, "dim": {"choice": [16, 32]}})
    finished: list[int] = []
    drive(back, store, evaluator=watching(finished))
    assert set(gone) & set(finished)


def test_a_changed_study_that_is_stopped_again_promotes_the_same(tmp_path: Path) -> None:
    (whole, later, _), (parts, _, _) = (begun_and_changed(tmp_path) for _ in range(2))
    drive(later, whole)
    for trials in (2, 3, None):
        drive(later, parts, trials=trials)
    assert essence(parts, later) == essence(whole, later)
