"""Every part of the catalogue as something that can be built and run, at a width of 64.

The contract suites run over `INSTANCES` and name no part: adding a folder to the catalogue adds it
here. A residual or block is run around a mixer and an FFN that stand in for what it would wrap.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.plan import Call, execute
from nas.search_spaces.base import Block, Embedding, Memory, Part, Place, Residual
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.ops import Ops

WIDTH = 64
PLACE = Place(dim=WIDTH, depth=2, layer=0)
VOCAB = 96
CONTEXT = 64
"""Tokens at which FLOPs are compared: a multiple of every chunk and window in the catalogue."""
HEADS = 4
"""Of the queries and keys that a position is applied to."""


class Instance(NamedTuple):
    """One example or variant of a part."""

    slot: str
    kind: str
    name: str
    spec: Any

    def __repr__(self) -> str:
        return self.name


def instances(*slots: str) -> list[Instance]:
    """Examples and variants of all parts in some slots."""
    found = []
    for slot in slots:
        for kind, part in SLOTS[slot].items():
            for index, numbers in enumerate((part.example, *part.variants)):
                name = f"{slot}-{kind}-{index}"
                found.append(Instance(slot, kind, name, part.model_validate(numbers)))
    return found


def operators(spec: Part) -> int:
    """How many operators a part is made of."""
    return len(spec.ops(PLACE, CONTEXT))


def stand_in(slot: str) -> Any:
    """The instance of a slot with the fewest operators, but at least one."""
    specs = (instance.spec for instance in instances(slot))
    return min(filter(operators, specs), key=operators)


INSTANCES = instances(*SLOTS)
STATEFUL = instances("mixers", "residuals", "blocks")
"""What is called with a state, and must decode as it runs forward."""


def plan_of(spec: Part) -> Call:
    """How an instance is built, stand-ins included."""
    if isinstance(spec, Embedding):
        return spec.vocabulary_plan(PLACE, VOCAB)
    if isinstance(spec, Residual):
        return spec.wrap_plan(PLACE, stand_in("mixers").plan(PLACE))
    if isinstance(spec, Block):
        return spec.join_plan(PLACE, stand_in("mixers").plan(PLACE), stand_in("ffns").plan(PLACE))
    return spec.plan(PLACE)


def ops_of(spec: Part, context: int = CONTEXT) -> Ops:
    """The operators of an instance, stand-ins included."""
    if isinstance(spec, Embedding):
        return spec.vocabulary_ops(PLACE, VOCAB)
    if isinstance(spec, Residual):
        return spec.wrap_ops(PLACE, context, stand_in("mixers").ops(PLACE, context))
    if isinstance(spec, Block):
        mixer, ffn = stand_in("mixers"), stand_in("ffns")
        return spec.join_ops(PLACE, context, mixer.ops(PLACE, context), ffn.ops(PLACE, context))
    return spec.ops(PLACE, context)


def memory_of(spec: Part) -> Memory:
    """What an instance carries while decoding, stand-ins included."""
    return (
        stand_in("mixers").memory(PLACE)
        if isinstance(spec, Residual | Block)
        else spec.memory(PLACE)
    )


def build(spec: Part, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """The module of an instance, with weights drawn from a seed."""
    torch.manual_seed(seed)
    module: nn.Module = execute(plan_of(spec))
    return module.to(dtype)


def example_input(slot: str, dtype: torch.dtype = torch.float64, time: int = CONTEXT) -> Tensor:
    """Two sequences of what a slot takes: tokens, heads or channels."""
    random = torch.Generator().manual_seed(1)
    if slot == "embeddings":
        return torch.randint(VOCAB, (2, time), generator=random)
    shape = (2, HEADS, time, WIDTH // HEADS) if slot == "positions" else (2, time, WIDTH)
    return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)


def run(slot: str, module: nn.Module, x: Tensor, offset: int = 0) -> Tensor:
    """A forward pass without state; `offset` is the position of the first token."""
    positional = slot in ("positions", "embeddings")
    y: Tensor = module(x, offset) if positional else module(x)
    return y


def empty_state(module: nn.Module) -> Any:
    """The state before the first token, from whichever submodule carries it."""
    carrier: Any = next(m for m in module.modules() if hasattr(m, "empty_state"))
    return carrier.empty_state()


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
