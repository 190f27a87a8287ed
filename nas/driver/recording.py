"""The record of a trial, from what its evaluation found."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nas.driver.evaluation import Candidate
from nas.evaluators.base import Metric
from nas.record import Failure, Measurement, TrialRecord
from nas.study import Objective


def record_of(study: str, candidate: Candidate, **found: Any) -> TrialRecord:
    """The record of a candidate; where it went on from a rung, with what stays of the record from
    when it was stopped."""
    record = TrialRecord(
        study=study,
        number=candidate.number,
        architecture=candidate.architecture.id,
        answers=candidate.proposal.answers,
        proposer=candidate.proposal.proposer,
        fallback=candidate.proposal.fallback,
        started=datetime.now(UTC),
        **found,
    )
    before = candidate.before
    if before is None:
        return record
    kept = {
        "started": before.started,
        "seconds": before.seconds + record.seconds,
        "weights": record.weights or before.weights,
    }
    return record.model_copy(update=kept)


def missing_objective(
    objectives: Sequence[Objective],
    known: Mapping[str, Metric],
    measurements: Sequence[Measurement],
) -> Failure | None:
    """The failure of a candidate for which an objective was not measured; None if all were."""
    missing = {o.metric for o in objectives} - {m.metric for m in measurements}
    if not missing:
        return None
    stage = known[sorted(missing)[0]].stage
    names = ", ".join(sorted(missing))
    return Failure(stage=stage, kind="error", message=f"the evaluator did not measure {names}")
