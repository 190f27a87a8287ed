"""The first members of a study: apart from each other in every question at once."""

from nas.samplers.uniform import generator_of
from nas.search_spaces.axes import Scalar


class SpreadDraw:
    """Answers of a Latin hypercube (McKay, Beckman and Conover, "A comparison of three methods for
    selecting values of input variables", 1979): among `strata` members in a row, each part of a
    range is met once, and of so many options each. Every question has an order of its own, so that
    conditional ones, which only some members are asked, need no care."""

    def __init__(self, seed: int, number: int, strata: int) -> None:
        self.seed, self.number, self.strata = seed, number, strata
        self.generator = generator_of(seed, number, "spread")

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return options[self._turn(axis, len(options))]

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        share = self._share(axis)
        if log:
            return min(high, int(low * ((high + 1) / low) ** share))
        return low + step * int(share * ((high - low) // step + 1))

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        share = self._share(axis)
        return low * (high / low) ** share if log else low + share * (high - low)

    def _share(self, axis: str) -> float:
        """How far up a range, in 0..1."""
        return (self._turn(axis, self.strata) + self.generator.random()) / self.strata

    def _turn(self, axis: str, count: int) -> int:
        order = list(range(count))
        generator_of(self.seed, 0, f"spread {axis}").shuffle(order)
        return order[self.number % count]
