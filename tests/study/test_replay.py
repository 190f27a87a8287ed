"""The log in the file alone rebuilds the study, its sampler and its next proposal."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from nas.evaluators.base import StageResult
from nas.replaying import replay
from nas.store.base import Asked, Told
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from tests.support.driving import (
    SAMPLERS,
    create,
    drive,
    essence,
    proposals,
    records,
    sampler_of,
    study,
)
from tests.support.fake import FakeEvaluator
from tests.support.problems import TINY

LIMITS = [{"metric": "params", "max": 40_000}]


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_a_study_stopped_at_several_points_makes_the_proposals_of_an_uninterrupted_one(
    library: str, name: str, tmp_path: Any
) -> None:
    spec = study(library, name, limits=LIMITS)
    whole = MemoryStore()
    create(whole, spec)
    drive(spec, whole)
    file = tmp_path / "nas.duckdb"
    with closing(DuckDBStore(file)) as store:
        create(store, spec)
    for trials in (1, 4, None):
        with closing(DuckDBStore(file)) as store:
            state, _ = drive(spec, store, trials=trials)
            assert state == ("complete" if trials is None else "stopped")
    with closing(DuckDBStore(file)) as store:
        assert essence(store, spec) == essence(whole, spec)
        assert proposals(store, spec) == proposals(whole, spec)
        found = replay(store, spec)
    assert found.first_difference is None
    assert found.identical == found.own > 0
    assert found.proposals == len(proposals(whole, spec))


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_the_next_proposal_follows_from_the_log(library: str, name: str) -> None:
    spec = study(library, name)
    store = MemoryStore()
    create(store, spec)
    sampler = sampler_of(spec)
    drive(spec, store, sampler=sampler)
    rebuilt = sampler_of(spec)
    by_number = {record.number: record for record in records(store, spec)}
    for entry in store.log(spec.name):
        if isinstance(entry, Told):
            loss = by_number[entry.number].value("text.loss")
            rebuilt.tell(entry.number, [loss], 0.0)
        else:
            rebuilt.replay(entry.proposal)
    assert rebuilt.ask() == sampler.ask()


def test_proposals_of_others_are_handed_over_and_counted_apart() -> None:
    spec = study(
        "optuna", "tpe", trials=22, space={**TINY, "vocab": 256}, calibration={"trials": 3}
    )
    store = MemoryStore()
    create(store, spec)
    drive(spec, store)
    made = proposals(store, spec)
    foreign = [p for p in made if p.proposer != "optuna.tpe"]
    assert {p.proposer for p in foreign} == {"calibration", "uniform"}
    found = replay(store, spec)
    assert (found.proposals, found.own) == (len(made), len(made) - len(foreign))
    assert (found.identical, found.first_difference) == (found.own, None)


def test_the_uniform_fallback_of_a_uniform_study_is_not_its_own() -> None:
    spec = study(trials=24, space={**TINY, "vocab": 256})
    store = MemoryStore()
    create(store, spec)
    drive(spec, store)
    helped = [p for p in proposals(store, spec) if p.fallback]
    assert helped
    found = replay(store, spec)
    assert found.proposals - found.own == len(helped)
    assert found.first_difference is None


@pytest.mark.parametrize(("library", "name"), [("uniform", "uniform"), ("optuna", "nsga2")])
def test_the_first_proposal_that_comes_out_otherwise_is_shown(library: str, name: str) -> None:
    spec = study(library, name)
    store = Tampered(number=4, answers={"dim": 16})
    create(store, spec)
    drive(spec, store)
    store.tampers = True
    found = replay(store, spec)
    assert found.identical == 4
    assert found.own == found.proposals
    assert found.first_difference is not None
    assert found.first_difference.number == 4
    assert found.first_difference.recorded == {"dim": 16}
    assert found.first_difference.derived == proposals(store.untampered(), spec)[4].answers


class Tampered(MemoryStore):
    """Shows one proposal with other answers than those that were made."""

    def __init__(self, *, number: int, answers: dict[str, Any]) -> None:
        super().__init__()
        self.number, self.answers, self.tampers = number, answers, False

    def log(self, study: str) -> list[Asked | Told]:
        return [self._tampered(entry) for entry in super().log(study)]

    def _tampered(self, entry: Asked | Told) -> Asked | Told:
        if not self.tampers or isinstance(entry, Told) or entry.proposal.number != self.number:
            return entry
        changed = entry.proposal.model_copy(update={"answers": self.answers})
        return Asked(changed, entry.architecture)

    def untampered(self) -> MemoryStore:
        """As it was made."""
        self.tampers = False
        return self


def test_another_seed_differs_at_once_and_nothing_more_is_asked() -> None:
    spec = study("nevergrad", "de")
    store = MemoryStore()
    create(store, spec)
    drive(spec, store)
    found = replay(store, spec.model_copy(update={"seed": 1}))
    assert found.identical == 0
    assert found.first_difference is not None
    assert found.first_difference.number == 0


class Versioned(FakeEvaluator):
    """Records the versions of the libraries, as the real evaluator does."""

    def run(self, stage: Any, architecture: Any, number: int, *, repeat: int = 0) -> StageResult:
        found = super().run(stage, architecture, number, repeat=repeat)
        return replace(found, environment={"versions": {"optuna": "0.1"}})


def test_versions_of_the_libraries_are_shown_beside_those_that_were_recorded() -> None:
    spec = study(trials=2)
    store = MemoryStore()
    create(store, spec)
    drive(spec, store, evaluator=Versioned)
    found = replay(store, spec)
    assert found.recorded_versions == {"optuna": "0.1"}
    assert {"python", "optuna", "nevergrad"} <= set(found.versions)
