"""What holds for everything that passes tokens along the sequence: causality and decoding.

Residuals and blocks are held to it around a mixer that stands in.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.search_spaces.ops import merge_costs
from tests.contracts.flops import counted_flops
from tests.contracts.instances import (
    CONTEXT,
    ENCODER_MIXERS,
    MIXERS,
    STATEFUL,
    Instance,
    assert_close,
    build,
    empty_state,
    example_input,
    memory_of,
    ops_of,
)

every_stateful = pytest.mark.parametrize("instance", STATEFUL, ids=repr)
every_mixer = pytest.mark.parametrize("instance", MIXERS, ids=repr)
every_encoder_mixer = pytest.mark.parametrize("instance", ENCODER_MIXERS, ids=repr)
LENGTHS = (1, 2, 7, 16, 33, CONTEXT)


def outputs(instance: Instance) -> tuple[nn.Module, Tensor, Tensor]:
    """A module, an input of two sequences, and the output for them."""
    module, x = build(instance), example_input(instance.slot)
    return module, x, module(x).detach()


def with_other_token(x: Tensor, time: int) -> Tensor:
    """The same input but for the token at one time."""
    changed = x.clone()
    changed[:, time] = torch.randn(x[:, time].shape, dtype=x.dtype)
    return changed


def slope(module: nn.Module, x: Tensor) -> float:
    """The largest derivative of the last output by the first token."""
    x = x.clone().requires_grad_()
    y = module(x)[:, -1]
    (gradient,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
    return gradient[:, 0].abs().max().item()


def is_sparse(instance: Instance) -> bool:
    """Whether a query may pass over tokens between those it sees."""
    return getattr(getattr(instance.spec, "scope", None), "sparse", False)


@torch.no_grad()
def influence(module: nn.Module, x: Tensor) -> Tensor:
    """Which outputs of the first sequence change with which of its tokens: [outputs, tokens]."""
    copies = x[:1].repeat(CONTEXT, 1, 1)
    index = torch.arange(CONTEXT)
    copies[index, index] = torch.randn_like(x[0])
    return ((module(copies) - module(x[:1])).abs().amax(-1) > 1e-9).T


def values_held(state: Any) -> int:
    """Numbers kept for one sequence; no state keeps none."""
    return 0 if state is None else int(state.values_held())


@every_stateful
def test_earlier_outputs_ignore_later_tokens(instance: Instance) -> None:
    module, x, y = outputs(instance)
    for time in (1, 15, 16, 32, CONTEXT - 1):
        changed = x.clone()
        changed[:, time:] = torch.randn_like(changed[:, time:])
        assert_close(module(changed)[:, :time], y[:, :time])


@every_mixer
def test_later_outputs_depend_on_earlier_tokens(instance: Instance) -> None:
    """But for a mixer without operators or one that says so, which leaves every token alone. In one
    sequence at least: sparse weights may pass a token over."""
    module, x, y = outputs(instance)
    if is_sparse(instance):  # which tokens are seen differs; that most are does not
        assert influence(module, x).tril(-1).any(dim=0).sum() > CONTEXT // 2
        return
    mixes = bool(ops_of(instance)) and instance.spec.mixes_tokens
    for time in (0, 15, 31, CONTEXT - 2):
        difference = (module(with_other_token(x, time)) - y)[:, time + 1].abs().amax(dim=-1)
        assert (difference > 1e-9).any() == mixes


@every_encoder_mixer
def test_earlier_outputs_depend_on_later_tokens_in_an_encoder(instance: Instance) -> None:
    """Some token sees a later one, unless the mixer has no operators or says that it mixes none."""
    module, x, y = outputs(instance)
    difference = (module(with_other_token(x, CONTEXT - 1)) - y)[:, :-1].abs().amax((1, 2))
    mixes = bool(ops_of(instance)) and instance.spec.mixes_tokens
    assert ((difference > 1e-9) == mixes).all()


@every_mixer
def test_what_is_no_longer_held_has_no_effect(instance: Instance) -> None:
    """A bounded cache without a recurrent state bounds how far a token is seen. A sparse scope
    holds the tokens that this or a later output depends on; no others if it bounds its cache."""
    memory = memory_of(instance)
    module, x, y = outputs(instance)
    if is_sparse(instance):
        now_or_later = influence(module, x).int().flip(0).cummax(0).values.flip(0)
        needed = now_or_later.tril().sum(dim=1).max().item()
        assert needed == memory.cache_tokens or (
            memory.cache_tokens is None and needed > CONTEXT // 2
        )
        return
    changed = module(with_other_token(x, 0))
    if memory.cache_tokens is not None and not memory.states and not memory.more:
        assert_close(changed[:, memory.cache_tokens :], y[:, memory.cache_tokens :])
        assert (changed - y)[:, memory.cache_tokens - 1].abs().max() > 1e-9
    elif memory.growth:
        # weights that shrink with distance may be too small for a difference
        assert (changed - y)[:, -1].abs().max() > 1e-9 or slope(module, x) > 0


@every_stateful
@torch.no_grad()
def test_stepwise_decoding_equals_the_forward_pass(instance: Instance) -> None:
    module, x, y = outputs(instance)
    state = empty_state(module)
    steps = [module(x[:, t : t + 1], state) for t in range(CONTEXT)]
    assert_close(torch.cat(steps, dim=1), y)


@every_stateful
@pytest.mark.parametrize("split", [1, 3, 31, 48, CONTEXT - 1])
@torch.no_grad()
def test_a_sequence_in_pieces_equals_the_whole(instance: Instance, split: int) -> None:
    module, x, y = outputs(instance)
    state = empty_state(module)
    pieces = (x[:, :split], x[:, split : split + 1], x[:, split + 1 :])
    parts = [module(piece, state) for piece in pieces if piece.shape[1]]
    assert_close(torch.cat(parts, dim=1), y)


@every_stateful
@torch.no_grad()
def test_state_has_the_declared_size(instance: Instance) -> None:
    module, x = build(instance), example_input(instance.slot)
    memory = memory_of(instance)
    stepwise = empty_state(module)
    for length in range(1, CONTEXT + 1):
        declared = memory.cached(length) + memory.states
        module(x[:, length - 1 : length], stepwise)
        assert values_held(stepwise) == declared
        if length in LENGTHS:  # and the same when the tokens came at once
            at_once = empty_state(module)
            module(x[:, :length], at_once)
            assert values_held(at_once) == declared


@every_stateful
@torch.no_grad()
def test_states_are_independent(instance: Instance) -> None:
    """Two sequences decoded in turn by one module do not disturb each other."""
    module, x, y = outputs(instance)
    first, second = empty_state(module), empty_state(module)
    for t in range(4):
        a = module(x[:1, t : t + 1], first)
        b = module(x[1:, t : t + 1], second)
        assert_close(torch.cat((a, b)), y[:, t : t + 1])


@every_stateful
@torch.no_grad()
def test_decode_flops_equal_what_torch_counts(instance: Instance) -> None:
    module, x = build(instance, torch.float32), example_input(instance.slot, torch.float32)
    for context in LENGTHS[1:]:
        state = empty_state(module)
        module(x[:, : context - 1], state)
        _, _, _, decode_flops = merge_costs(ops_of(instance, context))
        step = x[:, context - 1 : context]
        assert counted_flops(lambda: module(step, state)) == len(x) * decode_flops  # noqa: B023
