"""All that composed times follow from at one moment, small enough to be written down: a study that
chose its candidates by them can then be replayed, whatever its store has learned since.

Torch-free.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nas.evaluators.composed.model import Formula, Numbers, Prediction
from nas.evaluators.composed.records import Setting


@dataclass(frozen=True)
class Composition:
    """What each time follows from, by metric and context (``decode.latency_ms@256``)."""

    settings: Mapping[str, Setting]
    """In which parts and models were measured."""
    anchor_ms: Mapping[str, float]
    """The anchor's times in the conditions that are meant."""
    formulas: Mapping[str, Formula]
    """For some of the settings."""

    def predict(self, counts: Mapping[str, int]) -> dict[str, Prediction] | None:
        """The times of a model with so many of each part; None where one of them is not known."""
        found = {}
        for name, formula in self.formulas.items():
            time = formula.predict(counts, anchor_ms=self.anchor_ms.get(name))
            if not isinstance(time, Prediction):
                return None
            found[name] = time
        return found

    def since(self, earlier: "Composition | None") -> dict[str, Any]:
        """As JSON, but of the parts only those that are not the same in an earlier one. Empty where
        nothing is different."""
        if earlier is not None and earlier.settings != self.settings:
            earlier = None
        before = earlier.formulas if earlier else {}
        parts = {
            name: _different(formula.parts, before[name].parts if name in before else {})
            for name, formula in self.formulas.items()
        }
        numbers = {name: asdict(formula.numbers) for name, formula in self.formulas.items()}
        is_same = earlier is not None and (
            not any(parts.values())
            and dict(self.anchor_ms) == dict(earlier.anchor_ms)
            and numbers == {name: asdict(formula.numbers) for name, formula in before.items()}
        )
        if is_same:
            return {}
        return {
            "settings": {name: each.model_dump() for name, each in self.settings.items()},
            "anchor_ms": dict(self.anchor_ms),
            "numbers": numbers,
            "parts": parts,
            "adds": earlier is not None,
        }

    @classmethod
    def after(cls, earlier: "Composition | None", data: Mapping[str, Any]) -> "Composition":
        """The opposite of `since`, for the same earlier one."""
        before = earlier.formulas if earlier and data["adds"] else {}
        formulas = {}
        for name, numbers in data["numbers"].items():
            known = before[name].parts if name in before else {}
            added = {part: (time, error) for part, (time, error) in data["parts"][name].items()}
            formulas[name] = Formula(Numbers(**numbers), {**known, **added})
        settings = {name: Setting(**each) for name, each in data["settings"].items()}
        return cls(settings, data["anchor_ms"], formulas)


def _different(
    parts: Mapping[str, tuple[float, float]], before: Mapping[str, tuple[float, float]]
) -> dict[str, list[float]]:
    return {part: list(known) for part, known in parts.items() if before.get(part) != known}
