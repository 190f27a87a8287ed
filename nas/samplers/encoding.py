"""An architecture as numbers that a model of its quality can be fitted on.

The features say what is where (shares of layers, overall and by thirds of the depth, first and
last place, changes from layer to layer), how much of it (least, mean and most over the layers,
trend with depth) and what it costs in closed form. A model that is fitted on them can carry what it
learned from one depth or width to another, which it cannot on the answers to a space's questions,
where another pattern means other questions. That the encoding decides how well a predictor works is
the finding of "A Study on Encodings for Neural Architecture Search" (arXiv 2007.04965); the
features here are this module's own.

L layers, C columns (``columns.py``), F features, N architectures
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats
from nas.samplers.columns import Columns, layer_columns, octave, outer_columns
from nas.search_spaces.architecture import Architecture, Layer
from nas.search_spaces.space import SearchSpace

SAMPLE = 128
"""Random members from which the encoder learns what differs within a space, and how far."""
REACH = 0.5
"""How far outside of [0, 1] a feature may lie, for a member beyond the range of the sample."""
RARE = 4
"""Members of the sample that have to differ from the others in a feature."""
PLACES = 1e-6
"""Features that differ by less, over the whole sample, are taken for the same."""


class ArchitectureEncoder:
    """Turns members of one space into F numbers each.

    F and the meaning of each follow from the space and the context alone, through `SAMPLE` seeded
    members: what is the same in all of them, or repeats another feature, is left out.
    """

    def __init__(self, space: SearchSpace, *, context: int = 256) -> None:
        """`context` is the number of tokens at which costs are taken."""
        self.context = context
        members = [space.example(seed) for seed in range(SAMPLE)]
        self._layers = _Table(
            layer_columns(layer, member.place(0)) for member in members for layer in member.layers
        )
        self._outer = _Table(outer_columns(member) for member in members)
        self._layer_rows: dict[tuple[int, int], tuple[Layer, _Row]] = {}
        self._outer_rows: dict[tuple[int, ...], tuple[Architecture, _Row]] = {}
        self._weights: dict[int, _Weights] = {}
        self._relative: Floats = np.zeros(len(self._layers.amounts))
        self._relative = self._related_to_width(members)
        raw = np.array([self._raw(member) for member in members])
        everything = self._all_names()
        self._kept = _distinct_columns(raw, everything)
        kept = raw[:, self._kept]
        self.names: tuple[str, ...] = tuple(everything[i] for i in self._kept)
        """What each feature is, for people."""
        self._low = np.nanmin(kept, axis=0)
        self._width = np.nanmax(kept, axis=0) - self._low
        self._neutral = np.nanmean((kept - self._low) / self._width, axis=0)

    def features(self, architecture: Architecture) -> Floats:
        """[F] numbers, all finite, from 0 to 1 over the sample. A number that the architecture has
        no use for takes its mean over the sample; another feature says that it is absent."""
        raw = self._raw(architecture)[self._kept]
        scaled = (raw - self._low) / self._width
        absent = np.isnan(scaled)
        scaled[absent] = self._neutral[absent]
        clipped: Floats = np.clip(scaled, -REACH, 1 + REACH)
        return clipped

    # What is put together ------------------------------------------------------------------------

    def _raw(self, architecture: Architecture) -> Floats:
        """Every feature on its own scale; NaN where an amount is absent."""
        depth = architecture.depth
        weights = self._weights_at(depth)
        rows = [self._layer_row(layer, architecture) for layer in architecture.layers]
        flags = np.array([row.flags for row in rows])  # [L, flags]
        amounts = np.array([row.amounts for row in rows])  # [L, amounts]
        kinds = [row.kinds for row in rows]
        outer = self._outer_row(architecture)
        return np.concatenate(
            (
                self._sizes(architecture),
                outer.flags,
                outer.amounts,
                _changes(kinds),
                weights.shares @ flags,
                (weights.thirds @ flags[:, self._layers.placed]).ravel(),
                _ends(flags[:, self._layers.roles]),
                self._spread(amounts, weights, architecture.dim),
            )
        )

    def _all_names(self) -> list[str]:
        layers, outer = self._layers, self._outer
        placed = [layers.flags[i] for i in layers.placed]
        roles = [layers.flags[i] for i in layers.roles]
        return [
            *_SIZES,
            *outer.flags,
            *outer.amounts,
            *_CHANGES,
            *(f"{name} share" for name in layers.flags),
            *(f"{name} in the {third}" for third in _THIRDS for name in placed),
            *(
                f"{name} {what}"
                for what in ("first", "last", "centre", "anywhere")
                for name in roles
            ),
            *(f"{name} {what}" for what in _SPREADS for name in layers.amounts),
        ]

    def _sizes(self, architecture: Architecture) -> list[float]:
        cost = architecture.cost(self.context)
        return [
            octave(architecture.dim),
            octave(architecture.depth),
            octave(cost.params),
            octave(architecture.body_params),
            octave(cost.active_params),
            octave(cost.flops),
            octave(cost.decode_flops),
            octave(cost.cache_values),
            octave(cost.state_values),
        ]

    def _spread(self, amounts: Floats, weights: "_Weights", dim: int) -> Floats:
        """[4 x amounts] mean, least, most and trend with depth; NaN where no layer has it."""
        has = ~np.isnan(amounts)
        count = has.sum(axis=0)
        absent = count == 0
        filled = np.where(has, amounts, 0.0)
        mean = filled.sum(axis=0) / np.maximum(count, 1)
        trend = weights.trend @ np.where(has, amounts - mean, 0.0)
        least = np.where(has, amounts, np.inf).min(axis=0)
        most = np.where(has, amounts, -np.inf).max(axis=0)
        found = np.array((mean, least, most, trend))
        found[:3] -= self._relative * math.log2(dim)
        found[:, absent] = np.nan
        spread: Floats = found.ravel()
        return spread

    def _related_to_width(self, members: Sequence[Architecture]) -> Floats:
        """[amounts] 1 where the number takes fewer values relative to the width than by itself, as
        a hidden size of so many times the width does; else 0."""
        count = len(self._layers.amounts)
        plain: list[set[float]] = [set() for _ in range(count)]
        relative: list[set[float]] = [set() for _ in range(count)]
        for member in members:
            octaves = math.log2(member.dim)
            for layer in member.layers:
                for i, value in enumerate(self._layer_row(layer, member).amounts):
                    if not math.isnan(value):
                        plain[i].add(round(value, 1))
                        relative[i].add(round(value - octaves, 1))
        pairs = zip(plain, relative, strict=True)
        return np.array([float(len(rel) < len(own)) for own, rel in pairs])

    # What is remembered --------------------------------------------------------------------------

    def _layer_row(self, layer: Layer, architecture: Architecture) -> "_Row":
        """Layers of one space share their parts, so most are met again and again."""
        key = (id(layer), architecture.dim)
        known = self._layer_rows.get(key)
        if known is None:  # the layer is kept beside its row, so that its id is not given away
            if len(self._layer_rows) >= _MOST_ROWS:
                self._layer_rows.clear()
            row = self._layers.row(layer_columns(layer, architecture.place(0)))
            row.kinds = (layer.mixer.kind, layer.ffn.kind, layer.block.kind)
            known = self._layer_rows[key] = (layer, row)
        return known[1]

    def _outer_row(self, architecture: Architecture) -> "_Row":
        parts = (architecture.embedding, architecture.norm, architecture.head)
        key = (*map(id, parts), architecture.vocab, architecture.tied)
        known = self._outer_rows.get(key)
        if known is None:
            if len(self._outer_rows) >= _MOST_ROWS:
                self._outer_rows.clear()
            row = self._outer.row(outer_columns(architecture))
            known = self._outer_rows[key] = (architecture, row)
        return known[1]

    def _weights_at(self, depth: int) -> "_Weights":
        if depth not in self._weights:
            self._weights[depth] = _Weights(depth)
        return self._weights[depth]


_SIZES = (
    "dim",
    "depth",
    "params",
    "body params",
    "active params",
    "flops",
    "decode flops",
    "cache",
    "state",
)
_THIRDS = ("bottom", "middle", "top")
_SPREADS = ("mean", "least", "most", "trend")
_CHANGES = ("changes of mixer", "changes of ffn", "changes of block")
_MOST_ROWS = 20_000
"""Layers that are remembered at once."""


class _Row:
    """The numbers of one piece, in the order of a table."""

    __slots__ = ("amounts", "flags", "kinds")

    def __init__(self, flags: Floats, amounts: Floats) -> None:
        self.flags = flags
        self.amounts = amounts
        self.kinds: tuple[str, ...] = ()


class _Table:
    """The columns that some pieces have between them."""

    def __init__(self, pieces: Iterable[Columns]) -> None:
        flags: dict[str, None] = {}
        amounts: dict[str, None] = {}
        for piece in pieces:
            flags.update(dict.fromkeys(piece.flags))
            amounts.update(dict.fromkeys(piece.amounts))
        self.flags = tuple(sorted(flags, key=lambda name: ("." in name, ":" in name, name)))
        self.amounts = tuple(sorted(amounts))
        self.roles = _where(self.flags, lambda name: "~" in name)
        self.placed = _where(self.flags, _is_placed)
        """Roles of mixers, kinds of FFNs and blocks; the kinds of mixers are told apart by shares,
        for their thirds would be many numbers that hardly say more."""

    def row(self, piece: Columns) -> _Row:
        return _Row(
            np.array([piece.flags.get(name, 0.0) for name in self.flags]),
            np.array([piece.amounts.get(name, math.nan) for name in self.amounts]),
        )


class _Weights:
    """Of the layers at one depth."""

    def __init__(self, depth: int) -> None:
        place = (np.arange(depth) + 0.5) / depth
        self.shares = np.full(depth, 1 / depth)
        """[L] of the mean."""
        self.thirds = np.array([self._third(place, i) for i in range(3)])
        """[3, L] of the mean in each third; of all layers where a third holds none."""
        self.trend = (place - 0.5) * 12 / depth
        """[L] of the least-squares slope from the bottom to the top, for many layers."""

    def _third(self, place: Floats, index: int) -> Floats:
        inside = (place * 3).astype(int) == index
        return inside / inside.sum() if inside.any() else self.shares


def _where(names: Sequence[str], wanted: Callable[[str], bool]) -> NDArray[np.intp]:
    return np.array([i for i, name in enumerate(names) if wanted(name)], dtype=np.intp)


def _is_placed(name: str) -> bool:
    return "." not in name and not name.startswith("mixer=")


def _changes(kinds: Sequence[tuple[str, ...]]) -> list[float]:
    """Share of the neighbouring layers that differ in kind, for each slot."""
    most = max(1, len(kinds) - 1)
    return [sum(a != b for a, b in pairwise(column)) / most for column in zip(*kinds, strict=True)]


def _ends(flags: Floats) -> Floats:
    """[4 x roles] first, last and mean place, 0 the bottom and 1 the top, NaN for none; whether
    any."""
    depth = len(flags)
    anywhere = flags.any(axis=0)
    most = max(1, depth - 1)
    centre = np.arange(depth) @ flags / np.maximum(flags.sum(axis=0), 1)
    ends = np.array((flags.argmax(axis=0), depth - 1 - flags[::-1].argmax(axis=0), centre)) / most
    ends[:, ~anywhere] = np.nan
    return np.concatenate((ends.ravel(), anywhere))


def _distinct_columns(raw: Floats, names: Sequence[str]) -> NDArray[np.intp]:
    """[F] places of the columns that vary and do not repeat an earlier one, whatever the scale.
    What but a few members differ in is left out, for no study could learn it; the shares of kinds
    stay."""
    kept: list[int] = []
    seen: set[bytes] = set()
    for index, (column, name) in enumerate(zip(raw.T, names, strict=True)):
        present = column[~np.isnan(column)]
        if not len(present) or np.ptp(present) < PLACES:
            continue
        _, counts = np.unique(np.nan_to_num(column, nan=np.inf), return_counts=True)
        few = len(column) - counts.max() < RARE
        if few and not (name.endswith(" share") and "." not in name):
            continue
        scaled = (column - present.min()) / np.ptp(present)
        patterns = {_pattern(scaled), _pattern(1 - scaled)}
        if not patterns & seen:
            seen |= patterns
            kept.append(index)
    return np.array(kept, dtype=np.intp)


def _pattern(scaled: Floats) -> bytes:
    """Equal for columns that say the same; + 0 makes one zero of both."""
    return np.nan_to_num(np.round(scaled / PLACES) + 0, nan=-1.0).tobytes()
