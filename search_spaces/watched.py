"""A place that notes whether what is computed at it depends on where in the stack it is."""

from typing import Any

from nas.search_spaces.base import Place


class WatchedPlace(Place):
    """Answers like the place that it is made from, and notes in `asked` if it is asked for the
    layer or the depth. What was computed without asking holds at every layer of every depth."""

    asked: list[str]

    @classmethod
    def of(cls, at: Place) -> "WatchedPlace":
        """The same place, not yet asked anything."""
        watched = cls(*at)
        watched.asked = []
        return watched

    @property
    def layer(self) -> int:
        """This layer, 0..L-1."""
        self.asked.append("layer")
        return int(self[2])

    @property
    def depth(self) -> int:
        """Number of layers L."""
        self.asked.append("depth")
        return int(self[1])

    def _replace(self, **changes: Any) -> "WatchedPlace":
        """With some numbers changed; it notes questions in the same list."""
        changed = WatchedPlace(*Place(*self)._replace(**changes))
        changed.asked = self.asked
        return changed
