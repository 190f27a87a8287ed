"""Only weights of the front stay on disk, and the store knows which."""

from datetime import UTC, datetime
from pathlib import Path

from nas.keeping import WeightKeeper
from nas.record import Measurement, Proposal, TrialRecord
from nas.store.base import TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import small_study

VALUES = [(3.0, 3.0), (2.0, 4.0), (1.0, 1.0), (0.5, 9.0)]


def test_weights_of_beaten_trials_are_deleted(tmp_path: Path) -> None:
    spec = StudySpec.model_validate(small_study("kept"))
    store = MemoryStore()
    store.create_study("kept", spec.model_dump(mode="json"), None)
    keeper = WeightKeeper(store, spec, tmp_path)
    left = []
    for number, values in enumerate(VALUES):
        finish(store, spec, number, values, tmp_path)
        keeper.on_event("trial", {"number": number})
        left.append({int(path.stem) for path in tmp_path.glob("*.safetensors")})
    assert left == [{0}, {0, 1}, {2}, {2, 3}]
    known = {t.number for t in store.trials("kept", TrialQuery())[0] if t.weights}
    assert known == {2, 3}
    assert WeightKeeper(store, spec, tmp_path)._held.keys() == {2, 3}  # also after a restart


def finish(
    store: MemoryStore, spec: StudySpec, number: int, values: tuple[float, float], home: Path
) -> None:
    architecture = spec.space.example(number)
    proposal = Proposal(number=number, answers={}, proposer="uniform")
    store.ask(spec.name, proposal, architecture)
    file = f"{number}.safetensors"
    (home / file).write_bytes(b"weights")
    measured = tuple(
        Measurement(metric=objective.metric, value=value, unit="x", stage="train")
        for objective, value in zip(spec.objectives, values, strict=True)
    )
    record = TrialRecord(
        study=spec.name,
        number=number,
        architecture=architecture.id,
        answers={},
        state="complete",
        proposer="uniform",
        measurements=measured,
        weights=file,
        started=datetime.now(UTC),
        seconds=1.0,
    )
    store.finish(record, {})
