"""Studies driven in the thread of the test, with the fake evaluator, and stopped at a trial."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from nas.driver import Driver
from nas.driver.foreseeing import ComposedTimes
from nas.driver.sampling import sampler_of
from nas.record import TrialRecord
from nas.search_spaces.space import SearchSpace
from nas.store.base import Asked, Store, TrialQuery
from nas.study import NAS_SAMPLERS, NEVERGRAD_SAMPLERS, OPTUNA_SAMPLERS, StudySpec
from tests.support.fake import FakeEvaluator, small_study

SAMPLERS = [
    ("uniform", "uniform"),
    *(("nas", name) for name in NAS_SAMPLERS),
    *(("optuna", name) for name in OPTUNA_SAMPLERS),
    *(("nevergrad", name) for name in NEVERGRAD_SAMPLERS),
]


def study(library: str = "uniform", sampler: str | None = None, **changes: Any) -> StudySpec:
    """A small study with one objective, so that a Gaussian process takes no time either."""
    trials = 6 if sampler == "gp" else 8
    changes = {"trials": trials, "objectives": [{"metric": "text.loss"}], **changes}
    changes["driver"] = {"library": library, "sampler": sampler}
    spec = StudySpec.model_validate(small_study(**changes))
    return spec if "space" in changes else spec.model_copy(update={"space": small_space()})


@cache
def small_space() -> SearchSpace:
    """That of the small study; its questions are looked for once."""
    return SearchSpace.model_validate(small_study()["space"])


def create(store: Store, spec: StudySpec) -> None:
    """The study, not yet begun."""
    store.create_study(spec.name, spec.model_dump(mode="json"), None)


def drive(
    spec: StudySpec,
    store: Store,
    *,
    trials: int | None = None,
    sampler: Any = None,
    evaluator: Callable[[StudySpec], Any] = FakeEvaluator,
) -> tuple[str, str]:
    """Runs a study as a new process would; with `trials`, until so many more have finished."""
    stop, finished = threading.Event(), []

    def on_event(kind: str, data: Any) -> None:
        finished.extend([data] if kind == "trial" else [])
        if trials is not None and len(finished) >= trials:
            stop.set()

    times = ComposedTimes(spec)
    driver = Driver(
        spec,
        sampler or sampler_of(spec, times),
        evaluator(spec),
        store,
        stop=stop,
        on_event=on_event,
        times=times,
    )
    state, reason = driver.run()
    store.set_state(spec.name, state, reason)
    return state, reason


def records(store: Store, spec: StudySpec) -> list[TrialRecord]:
    """All finished trials."""
    return store.trials(spec.name, TrialQuery())[0]


def essence(store: Store, spec: StudySpec) -> list[dict[str, Any]]:
    """What has to be the same however often a study was stopped."""
    return [r.model_dump(exclude={"started", "seconds"}) for r in records(store, spec)]


def proposals(store: Store, spec: StudySpec) -> list[Any]:
    """Everything that was proposed, with what the sampler needs to rebuild itself; how long it took
    is no part of that."""
    asked = [entry.proposal for entry in store.log(spec.name) if isinstance(entry, Asked)]
    return [proposal.model_copy(update={"seconds": 0.0}) for proposal in asked]
