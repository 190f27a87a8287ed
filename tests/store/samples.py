"""Small records for the tests of the stores."""

from datetime import UTC, datetime, timedelta
from typing import Any

from nas.evaluators.base import CurvePoint
from nas.record import Measurement, Proposal, TrialRecord
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store

STARTED = datetime(2025, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
CURVES = {
    "text": (CurvePoint(0, 0, 5.5), CurvePoint(10, 640, 3.25)),
    "recall": (CurvePoint(0, 0, 4.0),),
}


def architecture(dim: int = 64) -> Architecture:
    layer = {
        "mixer": {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16},
        "ffn": {"kind": "swiglu", "hidden": 128},
        "block": {"kind": "sequential"},
    }
    return Architecture.model_validate({"vocab": 256, "dim": dim, "layers": [layer, layer]})


def proposal(number: int, **changes: Any) -> Proposal:
    given = {"number": number, "answers": {"dim": 64}, "proposer": "uniform"}
    return Proposal.model_validate({**given, **changes})


def measurement(metric: str, value: float) -> Measurement:
    return Measurement(metric=metric, value=value, unit="nats", stage="train")


def record(number: int, values: dict[str, float] | None = None, **changes: Any) -> TrialRecord:
    given: dict[str, Any] = {
        "study": "s",
        "number": number,
        "architecture": architecture().id,
        "answers": {"dim": 64},
        "state": "complete",
        "proposer": "uniform",
        "measurements": tuple(measurement(*pair) for pair in (values or {}).items()),
        "started": STARTED + timedelta(seconds=number),
        "seconds": 1.5,
    }
    return TrialRecord.model_validate({**given, **changes})


def run_trial(store: Store, trial: TrialRecord, dim: int = 64) -> TrialRecord:
    """Asks for a trial and finishes it, as the driver does."""
    chosen = architecture(dim)
    done = trial.model_copy(update={"architecture": chosen.id})
    store.ask(done.study, proposal(done.number), chosen)
    store.finish(done, CURVES)
    return done
