"""Layer patterns: which part stands in which layer.

A slot of a space (mixer, ffn, block) holds one part for all layers or one of these patterns, and
any of them may be offered in a ``choice``.

    {"kind": "repeat", "parts": [A, A, B]}                 A A B A A B ...
    {"kind": "ratio", "background": A, "placed": B,
     "ratio": "3:1", "placement": "interleaved"}           A A A B A A A B ...
    {"kind": "count", "background": A, "placed": B,
     "count": 2, "placement": "both_ends"}                 B A A A A A A B
    {"kind": "explicit", "parts": [A, B, B, A]}            layer by layer; depth must be 4
    {"kind": "each", "part": {"choice": [A, B]}}           drawn afresh for each layer
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, create_model

from nas.errors import Infeasible
from nas.search_spaces.axes import Draw
from nas.search_spaces.base import Model, Part, Place, Source
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.domains import Choice, domain_of, values
from nas.search_spaces.drawing import ask, choose_among, decisive, feasible, misfit
from nas.search_spaces.remembered import draw_remembered
from nas.search_spaces.searchable import part_domain, searchable, tagged_union
from nas.search_spaces.twin import Twin

RatioText = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^(\d{1,3}:[1-9]\d{0,2}|[1-9]\d{0,2}:0)$"),
    Field(description="a ratio background:placed as text, such as '3:1', '0:1' or '1:0'"),
]
"""``background:placed``, such as 3:1; 0:1 is all placed, 1:0 none."""
LayersPlaced = Annotated[int, Field(strict=True, ge=0, le=512)]
Placement = Literal["interleaved", "interleaved_first", "bottom", "top", "both_ends", "middle"]
"""Where the placed layers stand; interleaved is the last layer of each group, or the first."""


class Pattern(Model, ABC):
    """Base of all patterns."""

    papers: ClassVar[tuple[Source, ...]] = ()
    """Whose placements of layers it expresses."""

    @classmethod
    def name(cls) -> str:
        """Its kind."""
        return str(cls.model_fields["kind"].default)

    @abstractmethod
    def feasible(self, at: Place) -> bool:
        """Whether a list of layers can be drawn at this width and depth."""

    @abstractmethod
    def draw(self, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
        """One part for each layer, bottom first."""

    def decisive(self) -> frozenset[str]:
        """Which numbers of the surroundings decide whether the layers can be drawn."""
        return frozenset().union(*(decisive(part) for _, part in self._held()))

    def _held(self) -> Iterator[tuple[str, Any]]:
        """(path, part) of everything that the pattern is made of."""
        for name in ("parts", "part", "background", "placed"):
            held = getattr(self, name, ())
            if isinstance(held, tuple):
                yield from ((f"{name}.{index}", part) for index, part in enumerate(held))
            else:
                yield name, held

    def misfit(self, at: Place, path: str) -> tuple[str, str]:
        """(path, reason) of the first thing that keeps the layers from being drawn."""
        for name, part in self._held():
            if not feasible(part, at):
                return misfit(part, at, f"{path}.{name}")
        return path, "no layers can be drawn"


class Repeat(Pattern):
    """The parts in turn, from the bottom up, until the depth is reached."""

    kind: Literal["repeat"] = "repeat"
    parts: tuple[Any, ...]

    def feasible(self, at: Place) -> bool:
        return all(feasible(part, at) for part in self.parts)

    def draw(self, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
        drawn = _draw_list(self.parts, draw, path, at)
        return tuple(drawn[layer % len(drawn)] for layer in range(at.depth))


class Explicit(Pattern):
    """Layer by layer, bottom first; as many parts as there are layers."""

    kind: Literal["explicit"] = "explicit"
    parts: tuple[Any, ...]

    def feasible(self, at: Place) -> bool:
        return len(self.parts) == at.depth and all(feasible(part, at) for part in self.parts)

    def decisive(self) -> frozenset[str]:
        return super().decisive() | {"depth"}

    def misfit(self, at: Place, path: str) -> tuple[str, str]:
        if len(self.parts) != at.depth:
            return f"{path}.parts", f"{len(self.parts)} parts are listed, one for each layer,"
        return super().misfit(at, path)

    def draw(self, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
        if len(self.parts) != at.depth:
            raise Infeasible(f"{path}: {len(self.parts)} parts are listed for {at.depth} layers")
        return _draw_list(self.parts, draw, path, at)


class Each(Pattern):
    """Drawn afresh for each layer: the widest space, with one question or more for each layer."""

    papers = (
        Source(
            "Neural Architecture Search on Efficient Transformers and Beyond",
            "https://arxiv.org/abs/2207.13955",
            "the ranking predictor, whose place samplers take",
        ),
        Source(
            "What Matters in Transformers? Not All Attention is Needed",
            "https://arxiv.org/abs/2406.15786",
            "the redundancy score that chooses the layers; here the search does",
        ),
    )

    kind: Literal["each"] = "each"
    part: Any

    def feasible(self, at: Place) -> bool:
        return feasible(self.part, at)

    def draw(self, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
        return tuple(
            draw_remembered(self.part, draw, f"{path}.{layer}", at) for layer in range(at.depth)
        )


class Placed(Pattern):
    """Two parts, one of which is placed among layers of the other."""

    background: Any
    placed: Any
    placement: Any = "interleaved"

    @abstractmethod
    def draw_count(self, draw: Draw, path: str, depth: int) -> int:
        """How many of the layers hold the placed part."""

    def draw(self, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
        count = self.draw_count(draw, path, at.depth)
        layers: frozenset[int] = frozenset(range(count))
        if 0 < count < at.depth:
            placement = _ask(self.placement, draw, f"{path}.placement")
            layers = positions(count, at.depth, placement)
        placed = draw_remembered(self.placed, draw, f"{path}.placed", at) if count else None
        background = None
        if count < at.depth:
            background = draw_remembered(self.background, draw, f"{path}.background", at)
        drawn = (placed if layer in layers else background for layer in range(at.depth))
        return tuple(part for part in drawn if part is not None)


class Ratio(Placed):
    """Two parts in a ratio. At least one layer is `placed` unless the ratio is n:0."""

    papers = (
        Source(
            "A Systematic Analysis of Hybrid Linear Attention",
            "https://arxiv.org/abs/2507.06457",
        ),
        Source(
            "Multimodal Mamba: Decoder-only Multimodal State Space Model via Quadratic to Linear "
            "Distillation",
            "https://arxiv.org/abs/2502.13145",
            "seeding state-space layers from attention, and distillation",
        ),
    )

    kind: Literal["ratio"] = "ratio"
    ratio: Any

    def feasible(self, at: Place) -> bool:
        ratios = list(values(self.ratio))
        wanted = [self.placed] if any(not r.endswith(":0") for r in ratios) else []
        wanted += [self.background] if any(not r.startswith("0:") for r in ratios) else []
        return all(feasible(part, at) for part in wanted)

    def draw_count(self, draw: Draw, path: str, depth: int) -> int:
        return placed_layers(str(_ask(self.ratio, draw, f"{path}.ratio")), depth)


class CountOf(Placed):
    """So many layers of one part among layers of another, whatever the depth."""

    papers = (
        Source(
            "Efficient Long-Range Transformers: You Need to Attend More, but Not Necessarily at "
            "Every Layer",
            "https://arxiv.org/abs/2310.12442",
            "continued training on long sequences",
        ),
        Source(
            "LightTransfer: Your Long-Context LLM is Secretly a Hybrid Model with Effortless "
            "Adaptation",
            "https://arxiv.org/abs/2410.13846",
            "the lazy score that chooses the layers; here the search does",
        ),
        Source(
            "LAIT: Efficient Multi-Segment Encoding in Transformers with Layer-Adjustable "
            "Interaction",
            "https://arxiv.org/abs/2305.19585",
        ),
        Source(
            "Parallelizing Linear Transformers with the Delta Rule over Sequence Length",
            "https://arxiv.org/abs/2406.06484",
        ),
    )

    kind: Literal["count"] = "count"
    count: Any

    def feasible(self, at: Place) -> bool:
        counts = self._counts(at.depth)
        wanted = [self.placed] if any(counts) else []
        wanted += [self.background] if any(count < at.depth for count in counts) else []
        return bool(counts) and all(feasible(part, at) for part in wanted)

    def decisive(self) -> frozenset[str]:
        return super().decisive() | {"depth"}

    def misfit(self, at: Place, path: str) -> tuple[str, str]:
        if not self._counts(at.depth):
            return f"{path}.count", f"no count is at most the {at.depth} layers"
        return super().misfit(at, path)

    def draw_count(self, draw: Draw, path: str, depth: int) -> int:
        counts = self._counts(depth)
        return int(str(ask(draw, f"{path}.count", counts, len(tuple(values(self.count))))))

    def _counts(self, depth: int) -> tuple[int, ...]:
        return tuple(count for count in values(self.count) if count <= depth)


def placed_layers(ratio: str, depth: int) -> int:
    """How many of `depth` layers a ratio ``background:placed`` gives to the placed part: rounded to
    the nearest, and at least one of each part that the ratio names, as far as the depth allows."""
    background, placed = (int(number) for number in ratio.split(":"))
    if placed == 0:
        return 0
    if background == 0:
        return depth
    count = int(depth * placed / (background + placed) + 0.5)
    return max(1, min(count, depth - 1))


def positions(count: int, depth: int, placement: Any) -> frozenset[int]:
    """Which layers (0 is the bottom) hold the placed part."""
    if placement == "interleaved":  # last of each group: 3:1 in 8 layers is 3 and 7
        return frozenset((index + 1) * depth // count - 1 for index in range(count))
    if placement == "interleaved_first":  # first of each group: 3:1 in 8 layers is 0 and 4
        return frozenset(index * depth // count for index in range(count))
    if placement == "both_ends":
        bottom = (count + 1) // 2
        return frozenset(range(bottom)) | frozenset(range(depth - (count - bottom), depth))
    start = {"bottom": 0, "top": depth - count, "middle": (depth - count) // 2}[str(placement)]
    return frozenset(range(start, start + count))


def _ask(domain: Any, draw: Draw, axis: str) -> Any:
    options = tuple(values(domain))
    return ask(draw, axis, options, len(options))


def _draw_list(parts: tuple[Any, ...], draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
    return tuple(draw_remembered(part, draw, f"{path}.{i}", at) for i, part in enumerate(parts))


PATTERNS: tuple[type[Pattern], ...] = (Repeat, Ratio, CountOf, Explicit, Each)


@cache
def slot(name: str) -> Any:
    """The type of a slot that takes one part for all layers, a pattern, or a choice of these."""
    one = part_domain(SLOTS[name])
    many: Any = (tuple[one, ...], Field(min_length=1))  # type: ignore[valid-type]
    title = name.title()
    forms: dict[str, Any] = {k: searchable(p) for k, p in SLOTS[name].items()}
    forms["repeat"] = create_model(f"{title}Repeat", __base__=Repeat, parts=many)
    forms["explicit"] = create_model(f"{title}Explicit", __base__=Explicit, parts=many)
    forms["each"] = create_model(f"{title}Each", __base__=Each, part=(one, ...))
    placed: dict[str, Any] = {
        "background": (one, ...),
        "placed": (one, ...),
        "placement": (domain_of(Placement), "interleaved"),
    }
    ratio = (domain_of(RatioText), ...)
    forms["ratio"] = create_model(f"{title}Ratio", __base__=Ratio, ratio=ratio, **placed)
    count = (domain_of(LayersPlaced), ...)
    forms["count"] = create_model(f"{title}Count", __base__=CountOf, count=count, **placed)
    return tagged_union(forms, list(forms.values()))


def draw_slot(domain: Any, draw: Draw, path: str, at: Place) -> tuple[Part, ...]:
    """One part for each layer, from whatever a slot holds."""
    if isinstance(domain, Choice):
        domain, path = choose_among(domain, draw, path, at)
    if isinstance(domain, Pattern):
        return domain.draw(draw, path, at)
    assert isinstance(domain, Twin)
    return (draw_remembered(domain, draw, path, at),) * at.depth
