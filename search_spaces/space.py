"""A search space is data: typed JSON that a user writes, edits and posts.

Every field is a value or a domain (``domains.py``), every slot a part, a pattern or a choice
(``patterns.py``). ``decode`` is the only code that knows which questions a space asks; what it
returns is valid by construction.
"""

import random
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Axis, Draw, RandomDraw, RecordingDraw, survey
from nas.search_spaces.base import Model, Place
from nas.search_spaces.catalogue import EMBEDDINGS, NORMS
from nas.search_spaces.domains import (
    BoolDomain,
    Choice,
    Range,
    WholeNumber,
    domain_tag,
    values,
)
from nas.search_spaces.patterns import draw_slot, slot
from nas.search_spaces.searchable import ask, draw_part, feasible, part_domain

if TYPE_CHECKING:
    EmbeddingDomain: TypeAlias = Any
    NormDomain: TypeAlias = Any
    BlockSlot: TypeAlias = Any
    MixerSlot: TypeAlias = Any
    FFNSlot: TypeAlias = Any
else:
    EmbeddingDomain = part_domain(EMBEDDINGS)
    NormDomain = part_domain(NORMS)
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


DepthDomain = Annotated[
    Annotated[WholeNumber, Tag("value")]
    | Annotated[Choice[WholeNumber], Tag("choice")]
    | Annotated[Range[WholeNumber], Tag("range")],
    Discriminator(domain_tag),
]
DimDomain = Annotated[
    Annotated[WholeNumber, Tag("value")]
    | Annotated[Choice[WholeNumber], Tag("choice")]
    | Annotated[Range[WholeNumber], Tag("range")]
    | Annotated[MatchParams, Tag("match_params")],
    Discriminator(_size_tag),
]


class SearchSpace(Model):
    """All architectures that a study may propose."""

    family: Literal["causal_lm"] = "causal_lm"
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

    @model_validator(mode="after")
    def _holds_something(self) -> "SearchSpace":
        if not self._depths:
            raise ValueError(
                "the space is empty: no combination of dim and depth fits every slot; check that "
                "divisions leave no rest and that an explicit pattern lists as many parts as layers"
            )
        return self

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

    def example(self, seed: int = 0) -> Architecture:
        """A random member."""
        return self.decode(RandomDraw(random.Random(seed)))

    @cached_property
    def _depths(self) -> dict[int, tuple[int, ...]]:
        """For each depth, the widths with which every slot can be filled."""
        domain = self.dim
        widths = tuple(domain.members() if isinstance(domain, MatchParams) else values(domain))
        table = {
            depth: tuple(width for width in widths if self._fits(Place(width, depth, 0)))
            for depth in values(self.depth)
        }
        return {depth: fitting for depth, fitting in table.items() if fitting}

    def _fits(self, at: Place) -> bool:
        slots = (self.embedding, self.block, self.mixer, self.ffn, self.norm)
        return all(feasible(domain, at) for domain in slots)

    def _at(self, dim: int, depth: int, draw: Draw) -> Architecture:
        at = Place(dim, depth, 0)
        embedding = draw_part(self.embedding, draw, "embedding", at)
        blocks = draw_slot(self.block, draw, "block", at)
        mixers = draw_slot(self.mixer, draw, "mixer", at)
        ffns = draw_slot(self.ffn, draw, "ffn", at)
        norm = draw_part(self.norm, draw, "norm", at)
        tied = tuple(values(self.tied))
        return Architecture.model_validate(
            {
                "family": self.family,
                "vocab": self.vocab,
                "dim": dim,
                "embedding": embedding,
                "layers": tuple(
                    {"block": block, "mixer": mixer, "ffn": ffn}
                    for block, mixer, ffn in zip(blocks, mixers, ffns, strict=True)
                ),
                "norm": norm,
                "tied": ask(draw, "tied", tied, len(tied)),
            }
        )

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


def _ask_number(domain: Any, draw: Draw, axis: str, fitting: tuple[int, ...]) -> Any:
    """A whole number out of those that fit; a range that fits whole stays a range for samplers."""
    everything = tuple(values(domain))
    if isinstance(domain, Range) and fitting == everything:
        low, high = domain.range
        return draw.integer(axis, low, high, domain.step or 1, domain.log)
    return ask(draw, axis, fitting, len(everything))
