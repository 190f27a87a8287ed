"""Every part of the catalogue as something that can be built and run, at a width of 64.

The contract suites run over `INSTANCES` and name no part: adding a folder to the catalogue adds it
here. A residual or block is run around a mixer and an FFN that stand in for what it would wrap.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from nas.plan import Call, execute
from nas.search_spaces.base import (
    FAMILIES,
    Block,
    Embedding,
    Head,
    Memory,
    Part,
    Place,
    Residual,
)
from nas.search_spaces.catalogue import NESTED_SLOTS, SLOTS
from nas.search_spaces.legality import illegal
from nas.search_spaces.model import carried_by
from nas.search_spaces.ops import Ops

WIDTH = 64
PLACE = Place(dim=WIDTH, depth=2, layer=0)
VOCAB = 96
CONTEXT = 64
"""Tokens at which FLOPs are compared: a multiple of every chunk and window in the catalogue."""
HEADS = 4
"""Of the queries and keys that a position is applied to."""


class Instance(NamedTuple):
    """One example or variant of a part, in a model family."""

    slot: str
    kind: str
    name: str
    spec: Any
    causal: bool = True

    @property
    def place(self) -> Place:
        """Its surroundings."""
        return PLACE._replace(causal=self.causal)

    def __repr__(self) -> str:
        return self.name


HOSTED = {
    "feature_maps": ("mixers", "feature_map"),
    "gates": ("mixers", "gate"),
    "normalisers": ("mixers", "normaliser"),
    "scopes": ("mixers", "scope"),
}
"""Slots whose parts run only inside another one: slot and field of their hosts."""


def instances(*slots: str, causal: bool = True) -> list[Instance]:
    """Examples and variants of all parts in some slots that a family may use; a hosted part inside
    the first part that has its field."""
    found = []
    family = FAMILIES[0 if causal else 1]
    for slot in slots:
        for kind, part in SLOTS[slot].items():
            if family not in part.families:
                continue
            for index, numbers in enumerate((part.example, *part.variants)):
                name = f"{slot}-{kind}-{index}{'' if causal else '-encoder'}"
                spec = part.model_validate(numbers)
                if slot in HOSTED:
                    found.append(_hosted(slot, name, spec, causal))
                elif illegal(spec, family, "spec") is None:
                    found.append(Instance(slot, kind, name, spec, causal))
    return found


def given(*slots: str, causal: bool = True) -> list[dict[str, Any]]:
    """The same as JSON, as a space would take them."""
    return [i.spec.model_dump(mode="json") for i in instances(*slots, causal=causal)]


def _hosted(slot: str, name: str, spec: Part, causal: bool) -> Instance:
    """In the first example or variant of a host that takes it beside its other settings."""
    host_slot, field = HOSTED[slot]
    for kind, host in SLOTS[host_slot].items():
        if NESTED_SLOTS.get((host.__name__, field)) is not SLOTS[slot]:
            continue
        for settings in (host.example, *host.variants):
            with suppress(ValidationError):
                holder = host.model_validate({**settings, field: spec})
                if illegal(holder, FAMILIES[0 if causal else 1], "spec") is None:
                    return Instance(host_slot, kind, f"{name}-in-{kind}", holder, causal)
    raise LookupError(f"nothing hosts {name}")


def operators(instance: Instance) -> int:
    """How many operators a part is made of."""
    return len(instance.spec.ops(instance.place, CONTEXT))


def stand_in(slot: str) -> Any:
    """The instance of a slot with the fewest operators, but at least one; legal in each family. A
    mixer among them mixes tokens."""
    found = (
        i
        for i in instances(slot)
        if set(type(i.spec).families) == set(FAMILIES) and getattr(i.spec, "mixes_tokens", True)
    )
    return min(filter(operators, found), key=operators).spec


CAUSAL = instances(*SLOTS)
ENCODER = instances("heads", *(slot for slot in SLOTS if slot in ("mixers", *HOSTED)), causal=False)
"""What differs in an encoder."""
INSTANCES = [*CAUSAL, *ENCODER]
MIXERS = [i for i in CAUSAL if i.slot == "mixers"]
ENCODER_MIXERS = [i for i in ENCODER if i.slot == "mixers"]
STATEFUL = [i for i in CAUSAL if i.slot in ("mixers", "residuals", "blocks")]
"""What is called with a state, and must decode as it runs forward."""


def plan_of(instance: Instance) -> Call:
    """How an instance is built, stand-ins included."""
    spec, at = instance.spec, instance.place
    if isinstance(spec, Embedding):
        return spec.vocabulary_plan(at, VOCAB)
    if isinstance(spec, Head):
        return spec.output_plan(at, VOCAB, tied=False)
    if isinstance(spec, Residual):
        return spec.wrap_plan(at, stand_in("mixers").plan(at))
    if isinstance(spec, Block):
        return spec.join_plan(at, stand_in("mixers").plan(at), stand_in("ffns").plan(at))
    return spec.plan(at)


def ops_of(instance: Instance, context: int = CONTEXT) -> Ops:
    """The operators of an instance, stand-ins included."""
    spec, at = instance.spec, instance.place
    if isinstance(spec, Embedding):
        return spec.vocabulary_ops(at, VOCAB)
    if isinstance(spec, Head):
        return spec.output_ops(at, VOCAB, context, tied=False)
    if isinstance(spec, Residual):
        return spec.wrap_ops(at, context, stand_in("mixers").ops(at, context))
    if isinstance(spec, Block):
        mixer, ffn = stand_in("mixers"), stand_in("ffns")
        return spec.join_ops(at, context, mixer.ops(at, context), ffn.ops(at, context))
    return spec.ops(at, context)


def memory_of(instance: Instance) -> Memory:
    """What an instance carries while decoding, stand-ins included."""
    spec = instance.spec
    carrier = stand_in("mixers") if isinstance(spec, Residual | Block) else spec
    memory: Memory = carrier.memory(instance.place)
    return memory


def build(instance: Instance, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """The module of an instance, with weights drawn from a seed, in evaluation mode: what is random
    in training is switched off."""
    torch.manual_seed(seed)
    module: nn.Module = execute(plan_of(instance))
    return module.to(dtype).eval()


def example_input(slot: str, dtype: torch.dtype = torch.float64, time: int = CONTEXT) -> Tensor:
    """Two sequences of what a slot takes: tokens, heads or channels."""
    random = torch.Generator().manual_seed(1)
    if slot == "embeddings":
        return torch.randint(VOCAB, (2, time), generator=random)
    shape = (2, HEADS, time, WIDTH // HEADS) if slot == "positions" else (2, time, WIDTH)
    return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)


def run(slot: str, module: nn.Module, x: Tensor, offset: int = 0) -> Tensor:
    """A forward pass without state; `offset` is the position of the first token."""
    if slot == "heads":
        offset = None  # type: ignore[assignment]  # no embedding: the head is not tied
    positional = slot in ("positions", "embeddings", "heads")
    y: Tensor = module(x, offset) if positional else module(x)
    return y


def empty_state(module: nn.Module) -> Any:
    """The state before the first token, from whichever submodule carries it; None if none does."""
    return carried_by(module)


def balance_loss(module: nn.Module) -> Tensor:
    """What the routers of the last forward pass ask for."""
    losses = [torch.as_tensor(getattr(m, "balance_loss", 0.0)) for m in module.modules()]
    return torch.stack([loss.double() for loss in losses]).sum()


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Equal up to rounding in float64, relative to the largest value expected."""
    assert actual.shape == expected.shape
    largest = expected.abs().max().clamp_min(1e-30)
    error = ((actual - expected).abs().max() / largest).item()
    assert error <= tolerance, f"relative error {error:.1e}"
