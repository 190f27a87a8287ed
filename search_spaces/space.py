"""A search space is data: typed JSON that a user writes, edits and posts.

Every field is a value or a domain (``domains.py``), every slot a part, a pattern or a choice
(``patterns.py``). ``decode`` is the only code that knows which questions a space asks; what it
returns is valid by construction.
"""

import random
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from nas.search_spaces.architecture import Architecture, Family, Layer, with_head
from nas.search_spaces.axes import Axis, Draw, RandomDraw, RecordingDraw, survey
from nas.search_spaces.base import Model, Part, Place
from nas.search_spaces.catalogue import EMBEDDINGS, HEADS, NORMS
from nas.search_spaces.domains import (
    BoolDomain,
    Choice,
    Range,
    WholeNumber,
    domain_tag,
    values,
)
from nas.search_spaces.drawing import ask, decisive, feasible, misfit
from nas.search_spaces.legality import illegal, longest_input
from nas.search_spaces.patterns import draw_slot, slot
from nas.search_spaces.remembered import draw_remembered
from nas.search_spaces.searchable import part_domain

if TYPE_CHECKING:
    EmbeddingDomain: TypeAlias = Any
    NormDomain: TypeAlias = Any
    HeadDomain: TypeAlias = Any
    BlockSlot: TypeAlias = Any
    MixerSlot: TypeAlias = Any
    FFNSlot: TypeAlias = Any
else:
    EmbeddingDomain = part_domain(EMBEDDINGS)
    NormDomain = part_domain(NORMS)
    HeadDomain = part_domain(HEADS)
    BlockSlot, MixerSlot, FFNSlot = slot("blocks"), slot("mixers"), slot("ffns")


class MatchParams(Model):
    """The width that brings the parameter count nearest to a target, whatever else was chosen."""

    match_params: Annotated[int, Field(strict=True, ge=1)]
    """Total parameters, embeddings included."""
    step: Annotated[int, Field(strict=True, ge=1)] = 8
    """The width is a multiple of this."""
    max_dim: WholeNumber = 4096

    def members(self) -> range:
        """Widths to consider, narrow to wide."""
        return range(self.step, self.max_dim + 1, self.step)


def _size_tag(given: Any) -> str:
    match = "match_params" in given if isinstance(given, dict) else isinstance(given, MatchParams)
    return "match_params" if match else domain_tag(given)


LayerCount = Annotated[int, Field(strict=True, ge=1, le=512)]
MOST_LAYERS = 50_000
"""Layers that a space remembers."""
MOST_WIDTHS = 10_000
"""Widths that a space may offer; each is tried when the space is read."""

DepthDomain = Annotated[
    Annotated[LayerCount, Tag("value")]
    | Annotated[Choice[LayerCount], Tag("choice")]
    | Annotated[Range[LayerCount], Tag("range")],
    Discriminator(domain_tag),
]
DimDomain = Annotated[
    Annotated[WholeNumber, Tag("value")]
    | Annotated[Choice[WholeNumber], Tag("choice")]
    | Annotated[Range[WholeNumber], Tag("range")]
    | Annotated[MatchParams, Tag("match_params")],
    Discriminator(_size_tag),
]


SLOT_FIELDS = ("embedding", "block", "mixer", "ffn", "norm", "head")


class SearchSpace(Model):
    """All architectures that a study may propose."""

    family: Family = "causal_lm"
    vocab: WholeNumber = 256
    """Tokens in the vocabulary; 256 for bytes."""
    dim: DimDomain
    """Model width D."""
    depth: DepthDomain
    """Number of layers L."""
    embedding: EmbeddingDomain = Field(
        default_factory=lambda: {"kind": "token"}, validate_default=True
    )
    block: BlockSlot = Field(default_factory=lambda: {"kind": "sequential"}, validate_default=True)
    mixer: MixerSlot
    ffn: FFNSlot
    norm: NormDomain = Field(default_factory=lambda: {"kind": "rms"}, validate_default=True)
    """After the last layer."""
    tied: BoolDomain = True
    """Whether the output shares the embedding's matrix."""
    head: HeadDomain = Field(default_factory=lambda: {"kind": "next_token"}, validate_default=True)
    """From the last hidden states to logits; an encoder's is ``masked_token`` unless given."""

    @model_validator(mode="before")
    @classmethod
    def _name_head(cls, given: Any) -> Any:
        return with_head(given)

    @model_validator(mode="after")
    def _is_legal(self) -> "SearchSpace":
        for name in SLOT_FIELDS:
            if wrong := illegal(getattr(self, name), self.family, name):
                raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _holds_something(self) -> "SearchSpace":
        if len(self._widths) > MOST_WIDTHS:
            raise ValueError(
                f"dim: {len(self._widths)} widths are too many; accepted: at most {MOST_WIDTHS}, "
                "for example by a step"
            )
        if not self._depths:
            raise ValueError(self._why_empty())
        return self

    def _why_empty(self) -> str:
        """Which slot cannot be filled, and why, as an example."""
        widths, depths = self._widths, tuple(values(self.depth))
        places = [self._place(width, depth) for depth in depths for width in widths]
        for name in SLOT_FIELDS:
            domain = getattr(self, name)
            if not any(feasible(domain, at) for at in places):
                path, why = misfit(domain, places[0], name)
                at = f"at dim {places[0].dim} and depth {places[0].depth}"
                others = ", nor anywhere else in the space" if len(places) > 1 else ""
                return f"{path}: the space is empty: {why} {at}{others}{remedy(domain, places[0])}"
        return (
            "the space is empty: each slot can be filled at some dim and depth, but no dim and "
            "depth fit all slots; give the slots a width or depth in common"
        )

    def decode(self, draw: Draw) -> Architecture:
        """One architecture; the same answers always give the same one."""
        depth = int(_ask_number(self.depth, draw, "depth", tuple(self._depths)))
        widths = self._depths[depth]
        if isinstance(self.dim, MatchParams):
            return self._match(self.dim.match_params, widths, depth, draw)
        return self._at(int(_ask_number(self.dim, draw, "dim", widths)), depth, draw)

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Every question that the space may ask, found by decoding many times."""
        return survey(self.decode)

    @property
    def max_tokens(self) -> int | None:
        """The longest sequence that every member can read; None is without limit."""
        found = longest_input(self)
        return None if found is None else found[0]

    def example(self, seed: int = 0) -> Architecture:
        """A random member."""
        return self.decode(RandomDraw(random.Random(seed)))

    @cached_property
    def _depths(self) -> dict[int, tuple[int, ...]]:
        """For each depth, the widths with which every slot can be filled."""
        widths = self._widths
        table = {
            depth: tuple(width for width in widths if self._fits(self._place(width, depth)))
            for depth in values(self.depth)
        }
        return {depth: fitting for depth, fitting in table.items() if fitting}

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        """Every width that the space may consider."""
        domain = self.dim
        return tuple(domain.members() if isinstance(domain, MatchParams) else values(domain))

    def _place(self, dim: int, depth: int) -> Place:
        return Place(dim, depth, 0, self.family == "causal_lm")

    def _fits(self, at: Place) -> bool:
        return all(self._slot_fits(name, at) for name in SLOT_FIELDS)

    def _slot_fits(self, name: str, at: Place) -> bool:
        """Asked once for each width and depth, or less often where the slot ignores them."""
        numbers = self._decisive[name]
        key = (name, at.dim if "dim" in numbers else 0, at.depth if "depth" in numbers else 0)
        if key not in self._known_fits:
            self._known_fits[key] = feasible(getattr(self, name), at)
        return self._known_fits[key]

    @cached_property
    def _known_fits(self) -> dict[tuple[str, int, int], bool]:
        return {}

    @cached_property
    def _decisive(self) -> dict[str, frozenset[str]]:
        """Which of dim and depth decide whether a slot can be filled."""
        return {name: decisive(getattr(self, name)) for name in SLOT_FIELDS}

    def _at(self, dim: int, depth: int, draw: Draw) -> Architecture:
        at = self._place(dim, depth)
        embedding = draw_remembered(self.embedding, draw, "embedding", at)
        blocks = draw_slot(self.block, draw, "block", at)
        mixers = draw_slot(self.mixer, draw, "mixer", at)
        ffns = draw_slot(self.ffn, draw, "ffn", at)
        norm = draw_remembered(self.norm, draw, "norm", at)
        head: Any = draw_remembered(self.head, draw, "head", at)
        tied = tuple(values(self.tied)) if head.over_vocabulary else (True,)
        return Architecture.model_validate(
            {
                "family": self.family,
                "vocab": self.vocab,
                "dim": dim,
                "embedding": embedding,
                "layers": tuple(
                    self._layer(*parts) for parts in zip(blocks, mixers, ffns, strict=True)
                ),
                "norm": norm,
                "tied": ask(draw, "tied", tied, len(tied)),
                "head": head,
            }
        )

    def _layer(self, block: Part, mixer: Part, ffn: Part) -> Layer:
        """Equal layers of all members are one object, with whatever it has worked out; each keeps
        the parts that it is known by."""
        key = id(block), id(mixer), id(ffn)
        known = self._layers.get(key)
        if known is None:
            known = Layer.model_validate({"block": block, "mixer": mixer, "ffn": ffn})
            if len(self._layers) < MOST_LAYERS:
                self._layers[key] = known
        return known

    @cached_property
    def _layers(self) -> dict[tuple[int, int, int], Layer]:
        return {}

    def _match(self, target: int, widths: tuple[int, ...], depth: int, draw: Draw) -> Architecture:
        """Bisects the widths; parameters grow with the width when all other answers stand."""
        record = RecordingDraw(draw)
        low, high = 0, len(widths) - 1
        while low < high:
            middle = (low + high) // 2
            if self._at(widths[middle], depth, record).cost(1).params < target:
                low = middle + 1
            else:
                high = middle
        nearest = [self._at(widths[i], depth, record) for i in {max(0, low - 1), low}]
        return min(nearest, key=lambda found: abs(found.cost(1).params - target))


def remedy(domain: Any, at: Place) -> str:
    """The nearest width or depth at which a slot can be filled, as advice to the user."""
    for change in range(1, 129):
        for sign in (1, -1):
            dim, depth = at.dim + sign * change, at.depth + sign * change
            if dim > 0 and feasible(domain, at._replace(dim=dim)):
                return f"; accepted: for example dim {dim}"
            if depth > 0 and feasible(domain, at._replace(depth=depth)):
                return f"; accepted: for example depth {depth}"
    return ""


def _ask_number(domain: Any, draw: Draw, axis: str, fitting: tuple[int, ...]) -> Any:
    """A whole number out of those that fit; a range that fits whole stays a range for samplers."""
    everything = tuple(values(domain))
    if isinstance(domain, Range) and fitting == everything:
        low, high = domain.range
        return draw.integer(axis, low, high, domain.step or 1, domain.log)
    return ask(draw, axis, fitting, len(everything))
