"""How often each part occurs in an architecture, for whoever asks of hundreds of members of a
space at once. Torch-free."""

from typing import Any

from nas.evaluators.composed.parts import parts_of_layer, stem_of
from nas.search_spaces.architecture import Architecture, Layer
from nas.search_spaces.watched import WatchedPlace

MOST = 20_000
"""Layers of one width, and stems, that are remembered at once."""
Ids = tuple[str, ...]


class PartCounter:
    """The same as ``take_apart(...).counts``, with equal layers cut once for all members of a space
    where their place in the stack does not matter to them."""

    def __init__(self) -> None:
        self._widths: dict[tuple[int, str], _Layers] = {}
        self._stems: dict[tuple[Any, ...], tuple[Architecture, str]] = {}

    def counts(self, architecture: Architecture) -> dict[str, int] | None:
        """By id, the stem's first; None where it is no sum over its parts."""
        if architecture.linked:
            return None
        found = {self._stem(architecture): 1}
        key = (architecture.dim, architecture.family)
        known = self._widths.get(key)
        if known is None:
            known = self._widths[key] = _Layers()
        anywhere = known.anywhere
        for index, layer in enumerate(architecture.layers):
            ids = anywhere.get(layer.text)
            for part in known.ids(architecture, layer, index) if ids is None else ids:
                found[part] = found.get(part, 0) + 1
        return found

    def _stem(self, architecture: Architecture) -> str:
        """Members of a space share what stands around their layers. One is kept beside the id, so
        that what it is made of stays where it is."""
        outer = (architecture.embedding, architecture.norm, architecture.head)
        whole = (architecture.vocab, architecture.tied, architecture.dim, architecture.depth)
        key = (*map(id, outer), *whole, architecture.family)
        known = self._stems.get(key)
        if known is None:
            _make_room(self._stems)
            known = self._stems[key] = (architecture, stem_of(architecture).id)
        return known[1]


class _Layers:
    """Ids of the parts of layers of one width and family, by the layer's text."""

    def __init__(self) -> None:
        self.anywhere: dict[str, Ids] = {}
        """Of layers whose parts are the same wherever they stand."""
        self._placed: dict[tuple[str, int, int], Ids] = {}

    def ids(self, architecture: Architecture, layer: Layer, index: int) -> Ids:
        place = (layer.text, index, architecture.depth)
        known = self._placed.get(place)
        if known is None:
            watched = WatchedPlace.of(architecture.place(index))
            known = tuple(part.id for part in parts_of_layer(architecture, layer, watched))
            _make_room(self.anywhere)
            _make_room(self._placed)
            if watched.asked:
                self._placed[place] = known
            else:
                self.anywhere[layer.text] = known
        return known


def _make_room(remembered: dict[Any, Any]) -> None:
    if len(remembered) >= MOST:
        remembered.clear()
