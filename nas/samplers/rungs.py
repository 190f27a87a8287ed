"""Values of different rungs made comparable, for samplers that know no rungs.

M objectives
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median


class RungShift:
    """Shifts what a trial reached at a rung to what trials reach there that go all the way: by the
    median difference of those that were told at both, for each objective; by 0 while there are
    none. What has been told stays as it was; only later values are shifted by what is learned."""

    def __init__(self) -> None:
        self._reached: dict[int, dict[int, list[float]]] = defaultdict(dict)
        """Values [M] by number of the trial, then by rung."""
        self._differences: dict[int, list[list[float]]] = defaultdict(list)
        """By rung: [M] for each trial that went all the way, the end less the rung."""

    def __call__(self, number: int, values: Sequence[float], rung: int | None) -> list[float]:
        """The values [M] of a trial, shifted where it was told at a rung."""
        told = [float(value) for value in values]
        if rung is not None:
            self._reached[number][rung] = told
            differences = self._differences[rung]
            if not differences:
                return told
            return [
                v + median(g) for v, g in zip(told, zip(*differences, strict=True), strict=True)
            ]
        for earlier, reached in self._reached.pop(number, {}).items():
            gaps = [end - start for end, start in zip(told, reached, strict=True)]
            self._differences[earlier].append(gaps)
        return told
