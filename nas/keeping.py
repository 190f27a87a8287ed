"""Which trained weights are kept: those of trials on the front, so that a long study does not fill
the disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.fronts import front_of
from nas.store.base import Store, TrialQuery
from nas.study import StudySpec


class WeightKeeper:
    """Deletes the weights of trials as they are beaten."""

    def __init__(self, store: Store, spec: StudySpec, home: Path) -> None:
        self.store = store
        self.spec = spec
        self.home = home
        records, _ = store.trials(spec.name, TrialQuery())
        self._held = {record.number: record.weights for record in records if record.weights}

    def on_event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Called by the driver; looks at the front after each trial."""
        if kind != "trial":
            return
        record = self.store.trial(self.spec.name, int(data["number"]))
        if record.weights is None:
            return
        self._held[record.number] = record.weights
        _, front, _ = front_of(self.store, self.spec.name, self.spec.objectives, ())
        beaten = sorted(self._held.keys() - set(front))
        for number in beaten:
            (self.home / self._held.pop(number)).unlink(missing_ok=True)
        if beaten:
            self.store.forget_weights(self.spec.name, beaten)
