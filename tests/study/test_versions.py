"""A study's space changes: what it still holds stays valid, and the study goes on in it."""

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nas.errors import BadInput, Conflict
from nas.replaying import replay
from nas.runner import Runner
from nas.search_spaces.axes import ReplayDraw
from nas.service import Service
from nas.settings import Settings
from nas.store.base import Asked, Store
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from nas.study import StudySpec
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
from tests.support.fake import FakeEvaluator, small_study
from tests.support.problems import TINY

OLD: dict[str, Any] = {**TINY, "vocab": 256}
NEW = {
    **OLD,
    "dim": {"choice": [16, 48]},  # 32 is gone, and 48 is new
    "ffn": {"choice": [OLD["ffn"], {"kind": "swiglu", "hidden": 16}]},  # answers have other names
}


def service(store: Store, home: Path) -> Service:
    runner = Runner(store, home, lambda spec, _: FakeEvaluator(spec))
    return Service(store, Settings(home=home), runner)


def changed(store: Store, home: Path, spec: StudySpec, space: Any) -> tuple[StudySpec, Any]:
    """The study with another space, and the answer to the change."""
    verbs = service(store, home)
    view = verbs.change_space(spec.name, space)
    return StudySpec.model_validate_json(json.dumps(store.study(spec.name).spec)), view


def begun(spec: StudySpec, store: Store, trials: int) -> None:
    create(store, spec)
    drive(spec, store, trials=trials)


# Going on in the new space ---------------------------------------------------------------------


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_a_study_goes_on_in_its_new_space_alike_however_often_it_is_stopped(
    library: str, name: str, tmp_path: Path
) -> None:
    spec = study(library, name, trials=8 if name == "gp" else 10, space=OLD)
    stores = MemoryStore(), MemoryStore()
    for store in stores:
        begun(spec, store, 6)
    later = [changed(store, tmp_path, spec, NEW)[0] for store in stores]
    whole, stopped = stores
    assert drive(later[0], whole)[0] == "complete"
    for trials in (1, 2, None):
        drive(later[1], stopped, trials=trials)
    assert essence(stopped, spec) == essence(whole, spec)
    assert proposals(stopped, spec) == proposals(whole, spec)
    made = proposals(whole, spec)[6:]
    assert len(made) >= 2
    for proposal in made:
        later[0].space.decode(ReplayDraw(proposal.answers))  # raises for an answer that is gone
    found = replay(whole, later[0])
    assert (found.first_difference, found.identical) == (None, found.own)


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_a_number_that_is_skipped_leaves_no_trace_but_itself(library: str, name: str) -> None:
    spec = study(library, name)
    sampler = sampler_of(spec)
    sampler.skip(0)
    asked = [sampler.ask()[0] for _ in range(2)]
    assert [proposal.number for proposal in asked] == [1, 2]
    for proposal in asked:
        sampler.tell(proposal.number, [1.0 + proposal.number], 0.0)
    sampler.skip(3)
    again = sampler_of(spec)
    again.skip(0)
    for proposal in asked:
        again.replay(proposal)
    for proposal in asked:
        again.tell(proposal.number, [1.0 + proposal.number], 0.0)
    again.skip(3)
    assert again.ask() == sampler.ask()


class Listening:
    """A sampler that writes down what it is handed."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name = inner, inner.name
        self.replayed: dict[int, Any] = {}
        self.skipped: list[int] = []
        self.told: list[int] = []

    def ask(self) -> Any:
        return self.inner.ask()

    def replay(self, proposal: Any) -> None:
        self.replayed[proposal.number] = proposal
        self.inner.replay(proposal)

    def skip(self, number: int) -> None:
        self.skipped.append(number)
        self.inner.skip(number)

    def tell(self, number: int, *said: Any) -> None:
        self.told.append(number)
        self.inner.tell(number, *said)


def test_the_sampler_hears_of_what_the_space_holds_under_its_new_answers(tmp_path: Path) -> None:
    spec, store = study(trials=12, space=OLD), MemoryStore()
    begun(spec, store, 8)
    later, view = changed(store, tmp_path, spec, NEW)
    gone = [r.number for r in records(store, spec) if r.answers["dim"] == 32]
    assert gone
    assert [standing.number for standing in view.invalid] == gone
    assert {standing.axis for standing in view.invalid} == {"dim"}
    assert "accepted: 16, 48" in view.invalid[0].reason
    assert (view.valid, view.translated) == (0, 8 - len(gone))
    sampler = Listening(sampler_of(later))
    drive(later, store, sampler=sampler)
    assert sampler.skipped == gone
    assert not set(gone) & set(sampler.told)
    by_number = {record.number: record for record in records(store, spec)}
    assert set(sampler.replayed) | set(gone) == set(range(8))
    for number, proposal in sampler.replayed.items():
        assert proposal.answers["ffn"] == "gelu"
        member = later.space.decode(ReplayDraw(proposal.answers))
        assert member.id == by_number[number].architecture
        assert "in space 1" in proposal.proposer


def test_what_was_under_way_and_is_no_member_any_more_is_not_evaluated(tmp_path: Path) -> None:
    spec, store = study(trials=6, space=OLD), MemoryStore()
    begun(spec, store, 2)
    sampler = sampler_of(spec)
    for proposal in proposals(store, spec):
        sampler.replay(proposal)
    asked = []
    while {p.answers["dim"] == 32 for p, _ in asked} != {True, False}:
        asked.append(sampler.ask())
        store.ask(spec.name, *asked[-1])
    later, _ = changed(store, tmp_path, spec, NEW)
    drive(later, store)
    finished = {record.number for record in records(store, spec)}
    for proposal, _ in asked:
        assert (proposal.number in finished) == (proposal.answers["dim"] != 32)
    drive(later, store)
    assert replay(store, later).first_difference is None


def test_an_exhausted_study_goes_on_where_its_space_grows(tmp_path: Path) -> None:
    few = {**OLD, "dim": 16, "depth": 1, "mixer": {"kind": "identity"}}
    spec, store = study(trials=40, space=few), MemoryStore()
    create(store, spec)
    assert drive(spec, store)[0] == "exhausted"
    wider = {**few, "dim": {"choice": [16, 32, 48]}}
    later, view = changed(store, tmp_path, spec, wider)
    assert view.invalid == ()
    assert view.valid + view.translated == len(proposals(store, spec))
    state = service(store, tmp_path).study(spec.name)
    assert (state.state, state.space_version) == ("stopped", 2)
    assert "version 2" in str(state.reason)
    before = len(proposals(store, spec))
    drive(later, store)
    own = proposals(store, spec)[before : before + 5]
    assert all(proposal.fallback is None for proposal in own), "the sampler has its chance again"
    dims = {r.answers.get("dim") for r in records(store, spec) if r.state == "complete"}
    assert 48 in dims


# What is valid ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kept", "translated", "axis"),
    [
        ({"dim": {"choice": [16, 32, 64]}}, "all", "none", None),  # an option more
        ({"tied": {"choice": [True, False]}}, "none", "all", None),  # a question more
        ({"dim": 16}, "some", "none", "dim"),  # a question less
        ({"ffn": {"kind": "gelu", "hidden": {"choice": [32, 64]}}}, "some", "none", "ffn.hidden"),
        ({"ffn": {"kind": "swiglu", "hidden": 16}}, "none", "none", "ffn.hidden"),  # another part
    ],
)
def test_what_stays_valid(
    change: dict[str, Any], kept: str, translated: str, axis: str | None, tmp_path: Path
) -> None:
    spec, store = study(trials=20, space=OLD), MemoryStore()
    begun(spec, store, 10)
    _, view = changed(store, tmp_path, spec, {**OLD, **change})
    how_many = {0: "none", 10: "all"}
    assert how_many.get(view.valid, "some") == kept
    assert how_many.get(view.translated, "some") == translated
    assert {standing.axis for standing in view.invalid} == ({axis} if axis else set())
    assert view.valid + view.translated + len(view.invalid) == 10


def test_versions_say_what_changed_and_who_was_proposed_where(tmp_path: Path) -> None:
    spec, store = study(trials=20, space=OLD), MemoryStore()
    begun(spec, store, 3)
    wider = {**OLD, "dim": {"choice": [16, 32, 64]}, "tied": {"choice": [True, False]}}
    later, _ = changed(store, tmp_path, spec, wider)
    drive(later, store, trials=4)
    narrow = {**wider, "dim": {"choice": [64, 16]}, "depth": {"range": [1, 3]}}
    changed(store, tmp_path, spec, narrow)
    first, second, third = service(store, tmp_path).space_versions(spec.name)
    assert [v.proposals for v in (first, second, third)] == [3, 4, 0]
    assert (first.changes.fields, first.valid, first.invalid) == ((), 0, ())
    assert (second.changes.fields, second.changes.added) == (("dim", "tied"), ("tied",))
    (change,) = second.changes.changed
    assert (change.axis, change.added, change.removed) == ("dim", (64,), ())
    by_axis = {each.axis: each for each in third.changes.changed}
    assert by_axis["dim"].removed == (32,)
    assert (by_axis["depth"].before, by_axis["depth"].after) == ("1, 2", "1 to 3")
    everyone = third.valid + third.translated + len(third.invalid)
    assert everyone == len(records(store, spec)) == 7


# What is refused --------------------------------------------------------------------------------


def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    spec, store = study(trials=4, space=OLD), MemoryStore()
    begun(spec, store, 2)
    verbs = service(store, tmp_path)
    with pytest.raises(BadInput, match="has already"):
        verbs.change_space(spec.name, OLD)
    with pytest.raises(BadInput) as caught:
        verbs.change_space(spec.name, {**OLD, "dim": "wide"})
    assert caught.value.problems[0].path == "space.dim"
    with pytest.raises(BadInput, match=r"space.vocab: .*256"):  # checked with the whole study
        verbs.change_space(spec.name, {**OLD, "vocab": 64})
    assert [version.version for version in verbs.space_versions(spec.name)] == [1]
    drive(spec, store)
    with pytest.raises(Conflict, match="all 4 trials are evaluated"):
        verbs.change_space(spec.name, {**OLD, "depth": 3})


def test_a_running_study_keeps_its_space(tmp_path: Path) -> None:
    held = threading.Event()

    class Held(FakeEvaluator):
        def run(self, *given: Any, **more: Any) -> Any:
            held.wait(30)
            return super().run(*given, **more)

    store = MemoryStore()
    verbs = Service(
        store, Settings(home=tmp_path), Runner(store, tmp_path, lambda spec, _: Held(spec))
    )
    verbs.create_study(small_study(trials=2))
    try:
        with pytest.raises(Conflict, match="stop it first"):
            verbs.change_space("small", NEW)
        with pytest.raises(Conflict, match="stop it first"):
            verbs.replay("small")
    finally:
        held.set()
        verbs.close()


# In both stores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "duckdb"])
def test_both_stores_keep_versions(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else DuckDBStore(tmp_path / "nas.duckdb")
    with closing(store):
        spec = study(trials=20, space=OLD)
        begun(spec, store, 2)
        (first,) = store.space_versions(spec.name)
        assert (first.version, first.entries, first.earlier) == (1, 0, ())
        wider = {**OLD, "tied": {"choice": [True, False]}}
        later, view = changed(store, tmp_path, spec, wider)
        kept = store.space_versions(spec.name)
        assert kept[0] == first
        assert kept[1].entries == len(store.log(spec.name)) == 4
        assert [standing.recorded for standing in kept[1].earlier] == [False, False]
        assert store.study(spec.name).space_version == 2
        assert store.study(spec.name).spec["space"] == view.space == kept[1].space
        event = next(e for e in store.events(spec.name) if e.kind == "space")
        assert event.data["changes"]["added"] == ["tied"]
        with pytest.raises(Conflict, match="went on"):
            store.change_space(spec.name, {}, kept[1])
        store.ask(spec.name, *_asked(later, store))
        late = kept[1].model_copy(update={"version": 3})
        with pytest.raises(Conflict, match="went on"):
            store.change_space(spec.name, {}, late)
        store.delete_study(spec.name)
        create(store, spec)
        assert store.space_versions(spec.name)[0].version == 1
        assert store.study(spec.name).space_version == 1


def _asked(spec: StudySpec, store: Store) -> Any:
    sampler = sampler_of(spec)
    for entry in store.log(spec.name):
        if isinstance(entry, Asked):
            sampler.skip(entry.proposal.number)
    return sampler.ask()


@pytest.mark.parametrize("kind", ["memory", "duckdb"])
def test_the_request_that_made_a_study_still_finds_it(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else DuckDBStore(tmp_path / "nas.duckdb")
    with closing(store):
        spec = study(space=OLD)
        data = spec.model_dump(mode="json")
        store.create_study(spec.name, data, "key")
        changed(store, tmp_path, spec, {**OLD, "depth": 2})
        assert store.create_study(spec.name, data, "key").space_version == 2
