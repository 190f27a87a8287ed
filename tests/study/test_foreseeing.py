"""Composed times that are known before anything is trained: who uses them, and that a study which
did so is resumed and replayed as it was, whatever the library has learned since."""

from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import numpy as np
import pytest

from nas.driver import composer
from nas.driver.composer import Composer
from nas.driver.foreseeing import KIND, ComposedTimes
from nas.driver.screening import Screen
from nas.evaluators.composed.counting import PartCounter
from nas.evaluators.composed.parts import take_apart, why_not_composable
from nas.pareto import hypervolume
from nas.record import TrialRecord
from nas.replaying import replay
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset
from nas.store.base import Asked, Store
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.composed import ComposedEvaluator, World
from tests.support.driving import create, drive, essence, proposals, records, small_space
from tests.support.fake import small_study

TIME = "decode.latency_ms"
BOUND = 3.0
"""Milliseconds; about a sixth of the space is faster."""


def study(library: str = "nas", sampler: str | None = None, **changes: Any) -> StudySpec:
    given = small_study(**{"trials": 14, "limits": [{"metric": TIME, "max": BOUND}], **changes})
    given["budget"] = {"trials": changes.get("trials", 14)}
    given["driver"] = {"library": library, "sampler": sampler}
    given["rungs"] = [{"kind": "latency", "how": "composed"}, {"kind": "train", "tokens": 1000}]
    return StudySpec.model_validate(given).model_copy(update={"space": small_space()})


def evaluator(spec: StudySpec) -> ComposedEvaluator:
    return ComposedEvaluator(spec, World(spec.target))


def run(spec: StudySpec, store: Store | None = None, **options: Any) -> Store:
    if store is None:
        store = MemoryStore()
        create(store, spec)
    drive(spec, store, evaluator=evaluator, **options)
    return store


def editions(store: Store, spec: StudySpec) -> list[dict[str, Any]]:
    return [event.data for event in store.events(spec.name) if event.kind == KIND]


@cache
def true_ms(member: Architecture) -> float:
    """What a measurement says."""
    found = World(study().target).latency(member).measurements
    return next(m.value for m in found if m.metric == TIME)


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parts are measured when a candidate needs them, so that more is known with each trial."""
    monkeypatch.setattr(composer, "MOST_AHEAD", 0)
    yield


class Blind(ComposedTimes):
    """Learns nothing, as if times were not known before they are asked for."""

    def learn(self, *_: Any) -> None:
        return None


def test_members_are_counted_as_they_are_taken_apart() -> None:
    counter = PartCounter()
    for name in ("hybrid_mixers", "everything"):  # some layers depend on their place
        space = SearchSpace.model_validate(preset(name))
        for seed in range(30):
            member = space.example(seed)
            parts = None if why_not_composable(member) else take_apart(member).counts
            assert counter.counts(member) == parts
