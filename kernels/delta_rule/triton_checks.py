"""The Triton kernels of the delta rules against the definition, on a GPU or in the interpreter.

``test_delta_rule.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.delta_rule import checks
from nas.kernels.delta_rule.checks import RULES, Rule, draw
from nas.kernels.delta_rule.triton import _DeltaSizes, _invert
from nas.kernels.runtime.checking import DEVICE, error
from nas.kernels.runtime.impl import Impl

rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
SIZES = [(1, 1, 5, 7), (2, 2, 16, 16), (1, 1, 40, 24), (1, 1, 24, 72)]
"""Batch, heads, K and V: odd ones, one block, and several blocks of K and of V; chunks of 16, 16,
64 and 32 steps."""


@rules
@pytest.mark.parametrize(
    ("time", "size", "with_state"),
    [
        (1, 0, True),
        (2, 1, False),
        (15, 0, False),
        (16, 0, True),
        (17, 0, False),
        (50, 0, True),
        (65, 2, True),
        (33, 3, False),
    ],
)
def test_triton_is_the_definition(rule: Rule, time: int, size: int, with_state: bool) -> None:
    batch, heads, key, value = SIZES[size]
    inputs = draw(rule, heads, time, batch=batch, key=key, value=value)
    checks.check_values(Impl.TRITON, rule, inputs[: 6 if with_state else 5])


@rules
def test_the_state_carries_over_a_split(rule: Rule) -> None:
    checks.check_split(Impl.TRITON, rule, (17, 18, 35), lines=1)


@rules
def test_a_change_in_the_future_changes_nothing_before_it(rule: Rule) -> None:
    checks.check_causal(Impl.TRITON, rule, 18, 9, lines=1)


@rules
def test_a_full_write_is_read_back(rule: Rule) -> None:
    checks.check_full_write(Impl.TRITON, rule)


@rules
def test_orthogonal_keys_leave_plain_linear_attention(rule: Rule) -> None:
    checks.check_orthogonal_keys(Impl.TRITON, rule)


@rules
@pytest.mark.parametrize(
    ("dtype", "time", "wide", "decay"),
    [
        (torch.float32, 34, False, False),
        (torch.float32, 34, False, True),
        (torch.bfloat16, 18, False, True),
        (torch.bfloat16, 18, True, True),
    ],
)
def test_low_precision_is_as_good_as_the_definition_in_it(
    rule: Rule, dtype: torch.dtype, time: int, wide: bool, decay: bool
) -> None:
    checks.check_low_precision(Impl.TRITON, rule, dtype, time, decay=decay, wide=wide, lines=1)


@rules
def test_float32_in_chunks_of_64(rule: Rule) -> None:
    checks.check_low_precision(
        Impl.TRITON, rule, torch.float32, 66, decay=rule.channel, lines=1, key=40, value=16
    )


@rules
def test_almost_the_same_key_every_time(rule: Rule) -> None:
    checks.check_like_keys(Impl.TRITON, rule, 34)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize("chunk", [16, 64])
def test_the_inverse_is_as_good_as_forward_substitution(
    chunk: int, beta: float, alike: bool
) -> None:
    keys = checks.like_keys(chunk) if alike else draw(RULES[0], 1, chunk)[1][0, 0]
    lower = (keys @ keys.T).tril(-1).float()
    sizes = _DeltaSizes(1, 1, chunk, chunk, checks.VALUE, torch.float32, channel=False)
    scale = torch.full((1, 1, chunk), beta, device=DEVICE)
    found = _invert(sizes, lower[None].contiguous(), scale)[0]
    eye = torch.eye(chunk, device=DEVICE)
    solved = torch.linalg.solve_triangular(beta * lower, eye, upper=False, unitriangular=True)
    exact = torch.linalg.inv(eye.double() + beta * lower.double())
    assert error(found, exact) <= 2 * error(solved, exact) + 4 * torch.finfo(torch.float32).eps


@rules
@pytest.mark.parametrize("rate", [-1e-4, -1.0, -10.0])
def test_decays_up_to_the_end_of_the_range(rule: Rule, rate: float) -> None:
    checks.check_rate(Impl.TRITON, rule, rate, 18, lines=1)


def test_a_strong_decay_stays_finite() -> None:
    checks.check_strongest(Impl.TRITON, checks.GATED, 18, lines=1)


@rules
def test_runs_repeat_bit_for_bit(rule: Rule) -> None:
    checks.check_repeats(Impl.TRITON, rule, 18, lines=1)


@rules
def test_a_row_of_a_batch_is_the_row_alone(rule: Rule) -> None:
    checks.check_alone(Impl.TRITON, rule, 18)


@rules
def test_any_layout_of_the_inputs(rule: Rule) -> None:
    checks.check_layouts(Impl.TRITON, rule, 9)


@rules
def test_decays_and_betas_broadcast(rule: Rule) -> None:
    checks.check_broadcast(Impl.TRITON, rule, 9)
