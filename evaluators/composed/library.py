"""What is known about parts, in the store, and what it says about an architecture. Torch-free:
whatever is missing is measured in a worker (``measuring.Bench``) and put into the store by the
process that owns it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nas.evaluators.composed.model import CompositionModel, Formula, Prediction, Refusal
from nas.evaluators.composed.parts import Part, take_apart, why_not_composable
from nas.evaluators.composed.records import Setting
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store


@dataclass(frozen=True)
class Library:
    """Looks things up for the settings of one target (``settings.settings_of``).

    Reads the store when first asked about a setting; make a new one after adding to the store.
    """

    store: Store
    settings: Sequence[Setting]
    _models: dict[Setting, CompositionModel | Refusal] = field(default_factory=dict)

    def missing(self, architectures: Iterable[Architecture]) -> list[Part]:
        """The parts of some architectures that are not measured in all of the settings, each once.
        An architecture that cannot be composed has none."""
        wanted = {
            part.id: part
            for architecture in architectures
            if why_not_composable(architecture) is None
            for part in take_apart(architecture).distinct
        }
        return self.lacking(wanted)

    def lacking(self, wanted: Mapping[str, Part]) -> list[Part]:
        """Those of some parts, given by id, that are not measured in all of the settings."""
        lacking: set[str] = set()
        for setting in self.settings:
            known = {row.part for row in self.store.part_latencies(setting)}
            lacking |= set(wanted) - known
        return [part for part in wanted.values() if part.id in lacking]

    def formulas(self) -> dict[str, Formula] | None:
        """By metric and context, for each setting; None where one cannot be composed at all."""
        found: dict[str, Formula] = {}
        for setting in self.settings:
            model = self._model(setting)
            if isinstance(model, Refusal):
                return None
            found[name(setting)] = model
        return found

    def predict(
        self, architecture: Architecture, anchor_ms: Mapping[str, float] = MappingProxyType({})
    ) -> dict[str, Prediction | Refusal]:
        """For each setting, by metric and context as in ``decode.latency_ms@256``. `anchor_ms` are
        the anchor's times in the conditions that are meant, named in the same way."""
        reason = why_not_composable(architecture)
        counts = {} if reason else take_apart(architecture).counts
        found: dict[str, Prediction | Refusal] = {}
        for setting in self.settings:
            model = Refusal(reason) if reason else self._model(setting)
            if isinstance(model, CompositionModel):
                found[name(setting)] = model.predict(counts, anchor_ms=anchor_ms.get(name(setting)))
            else:
                found[name(setting)] = model
        return found

    def _model(self, setting: Setting) -> CompositionModel | Refusal:
        if setting not in self._models:
            parts = self.store.part_latencies(setting)
            models = self.store.model_latencies(setting)
            try:
                self._models[setting] = CompositionModel(parts, models)
            except ValueError as too_few:
                self._models[setting] = Refusal(str(too_few))
        return self._models[setting]


def name(setting: Setting) -> str:
    """The metric as a study calls it."""
    return f"{setting.metric}@{setting.context}"
