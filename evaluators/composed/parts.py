"""An architecture taken apart into the pieces whose times add up to its own. Torch-free.

The stem (embedding, last norm, head) is one part. A layer that runs its mixer's sublayer and then
its FFN's is two, each with its norm and residual; a layer of any other block is one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from nas.plan import Call, Node
from nas.search_spaces.architecture import Architecture, Layer, canonical
from nas.search_spaces.base import Place
from nas.search_spaces.blocks.sequential.spec import Sequential
from nas.search_spaces.ffns.none.spec import NoFFN
from nas.search_spaces.mixers.none.spec import NoMixer

Role: TypeAlias = Literal["stem", "mixer", "ffn", "layer"]


@dataclass(frozen=True, slots=True)
class Part:
    """Something whose time can be measured alone. Two of the same id take the same time."""

    id: str
    """12 hex digits of everything that decides its time; where it stands in a stack does not."""
    role: Role
    name: str
    """For people, for example ``attention at width 128``."""
    dim: int
    """Width of what goes through it."""
    vocab: int
    """Tokens in the vocabulary; only a stem depends on it."""
    causal: bool
    """Whether it carries a state from token to token."""
    plan: Call = field(compare=False, repr=False)
    """How it is built: one block, or for a stem a model without blocks."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of one architecture."""

    stem: Part
    layers: tuple[Part, ...]
    """Bottom first; an absent sublayer has no part."""

    @property
    def distinct(self) -> tuple[Part, ...]:
        """Each part once, in order of first use."""
        return tuple({part.id: part for part in (self.stem, *self.layers)}.values())

    @property
    def counts(self) -> dict[str, int]:
        """How often each part occurs, by id; the stem's comes first."""
        return dict(Counter(part.id for part in (self.stem, *self.layers)))


def why_not_composable(architecture: Architecture) -> str | None:
    """Why the time of an architecture is no sum over its parts; None if it is."""
    if architecture.linked:
        return (
            f"layer {architecture.linked[0]} adds the attention scores of a layer below, so its "
            "time cannot be measured apart from it; measure the whole model"
        )
    return None


def take_apart(architecture: Architecture) -> Parts:
    """The parts of an architecture.

    Raises:
        ValueError: its layers cannot be measured apart (`why_not_composable`).
    """
    if reason := why_not_composable(architecture):
        raise ValueError(f"architecture {architecture.id} is not composable: {reason}")
    return _Cutter(architecture).parts


def parts_of_layer(architecture: Architecture, layer: Layer, at: Place) -> list[Part]:
    """The parts of one layer of a composable architecture, at a place of its own."""
    return _Cutter(architecture).layer(layer, at)


def stem_of(architecture: Architecture) -> Part:
    """All that is no layer."""
    return _Cutter(architecture).stem()


class _Cutter:
    """Cuts one architecture."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.causal = architecture.family == "causal_lm"

    @cached_property
    def parts(self) -> Parts:
        found: list[Part] = []
        for index, layer in enumerate(self.architecture.layers):
            found.extend(self.layer(layer, self.architecture.place(index)))
        return Parts(self.stem(), tuple(found))

    def stem(self) -> Part:
        architecture = self.architecture
        whole = architecture.plan()
        plan = replace(whole, arguments={**whole.arguments, "blocks": ()})
        described = {
            name: canonical(getattr(architecture, name))
            for name in ("embedding", "norm", "tied", "head", "vocab")
        }
        name = f"{architecture.embedding.kind} and {architecture.head.kind}"
        return self._part("stem", name, described, plan, vocab=architecture.vocab)

    def layer(self, layer: Layer, at: Place) -> list[Part]:
        mixer, ffn = layer.mixer, layer.ffn
        present = [
            (role, part) for role, part in (("mixer", mixer), ("ffn", ffn)) if not part.absent
        ]
        if isinstance(layer.block, Sequential):
            alone = {
                "mixer": layer.model_copy(update={"ffn": NoFFN()}),
                "ffn": layer.model_copy(update={"mixer": NoMixer()}),
            }
            return [self._block(role, part.kind, alone[role], at) for role, part in present]
        if not present:
            return []
        name = " and ".join(part.kind for _, part in present)
        return [self._block("layer", f"{name}, {layer.block.kind}", layer, at)]

    def _block(self, role: Any, name: str, layer: Layer, at: Place) -> Part:
        return self._part(role, name, {"layer": canonical(layer)}, layer.plan(at))

    def _part(
        self, role: Role, name: str, described: Mapping[str, Any], plan: Call, vocab: int = 0
    ) -> Part:
        architecture = self.architecture
        known = {
            **described,
            "family": architecture.family,
            "dim": architecture.dim,
            # Position in the stack reaches a part only through its plan. Where it decides a number
            # (the floor of a gate) the time is the same, where it decides a class it is not.
            "plan": _without_reals(plan),
        }
        text = json.dumps(known, sort_keys=True, separators=(",", ":"))
        return Part(
            id=hashlib.sha256(text.encode()).hexdigest()[:12],
            role=role,
            name=f"{name} at width {architecture.dim}",
            dim=architecture.dim,
            vocab=vocab,
            causal=self.causal,
            plan=plan,
        )


def _without_reals(node: Node) -> Any:
    """A plan as JSON, with floating-point numbers left out."""
    if isinstance(node, Call):
        arguments = {key: _without_reals(value) for key, value in node.arguments.items()}
        return [node.target, arguments]
    if isinstance(node, tuple):
        return [_without_reals(item) for item in node]
    return "real" if isinstance(node, float) else node
