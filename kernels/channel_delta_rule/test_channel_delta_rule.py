"""The delta rule with a decay per channel: the chunked form against the definition, in values,
gradients and cost."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.channel_delta_rule import chunked, cost, reference
from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.kernels.gated_delta_rule.reference import gated_delta_rule
from nas.kernels.linear_attention.reference import linear_attention
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

KEY, VALUE = 5, 7


def draw(heads: int, time: int, *, decay: bool = True) -> list[Tensor]:
    """q, k, v, log_decay, beta in [0, 2] and a state in float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    times, keys, values = (2, heads, time), (2, heads, time, KEY), (2, heads, time, VALUE)
    log_decay = -softplus(normal(*keys)) if decay else torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    k = normalize(normal(*keys), dim=-1)
    beta = 2 * normal(*times).sigmoid()
    return [normal(*keys), k, normal(*values), log_decay, beta, normal(2, heads, KEY, VALUE)]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """The output, the state, and the gradient of every input for a fixed random cotangent."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl):
        results = channel_delta_rule(*leaves)
    torch.manual_seed(1)
    cotangents = [torch.randn_like(x) for x in results]
    return [*results, *torch.autograd.grad(results, leaves, cotangents)]


def error(result: Tensor, exact: Tensor) -> float:
    """Largest error, relative to the largest exact value unless that is 0."""
    scale = float(exact.detach().abs().max()) or 1.0
    return float((result.double() - exact).detach().abs().max()) / scale


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 7, 16, 33, 70])
def test_chunked_is_the_definition(time: int, heads: int, decay: bool, with_state: bool) -> None:
    inputs = draw(heads, time, decay=decay)[: 6 if with_state else 5]
    for fast, slow in zip(
        with_gradients(Impl.CHUNKED, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True
    ):
        assert error(fast, slow) < 1e-10


@pytest.mark.parametrize("impl", [Impl.CHUNKED, Impl.REFERENCE])
def test_the_state_carries_over_a_split(impl: Impl) -> None:
    *inputs, state = draw(2, 50)
    with use_impl(impl):
        whole, last = channel_delta_rule(*[*inputs, state])
        parts = []
        for part in (slice(0, 33), slice(33, 34), slice(34, 50)):
            o, state = channel_delta_rule(*[*(x[:, :, part] for x in inputs), state])
            parts.append(o)
    assert error(torch.cat(parts, dim=2), whole) < 1e-12
    assert error(state, last) < 1e-12


def test_a_change_in_the_future_changes_nothing_before_it() -> None:
    inputs = draw(2, 70)[:5]
    before, _ = channel_delta_rule(*inputs)
    for x in inputs:
        x[:, :, 45:] *= 0.5
    after, _ = channel_delta_rule(*inputs)
    # the middle of a chunk moves, and with it the rounding
    assert error(after[:, :, :45], before[:, :, :45]) <= 1e-14
    assert not torch.equal(before[:, :, 45:], after[:, :, 45:])


def test_a_full_write_is_read_back() -> None:
    _, k, v, log_decay, beta, state = draw(2, 9)
    o, _ = channel_delta_rule(k, k, v, log_decay, torch.ones_like(beta), state)
    torch.testing.assert_close(o, v)


def test_orthogonal_keys_leave_plain_linear_attention() -> None:
    q, _, v, log_decay, beta, _ = draw(2, KEY)
    k = torch.eye(KEY, dtype=torch.float64).expand(2, 2, KEY, KEY)
    o, state = channel_delta_rule(q, k, v, log_decay, beta)
    expected, last = linear_attention(q, k * beta[..., None], v, log_decay)
    torch.testing.assert_close(o, expected)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_as_good_as_the_definition_in_it(dtype: torch.dtype, decay: bool) -> None:
    low = [x.to(dtype) for x in draw(2, 66, decay=decay)]
    low[4] = low[4] / 2
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast = with_gradients(Impl.CHUNKED, low)
    slow = with_gradients(Impl.REFERENCE, low)
    assert fast[0].dtype == dtype
    assert fast[1].dtype == torch.float32
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert error(mine, true) <= 2 * error(honest, true) + 4 * torch.finfo(mine.dtype).eps


@pytest.mark.parametrize("rate", [-1e-4, -1.0, -10.0])
def test_decays_up_to_the_end_of_the_range(rate: float) -> None:
    low = [x.float() for x in draw(2, 70)]
    low[3] = torch.full((2, 2, 70, KEY), rate)
    low[3][..., 0] = -1e-4  # next to a channel that hardly fades
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast = with_gradients(Impl.CHUNKED, low)
    slow = with_gradients(Impl.REFERENCE, low)
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert error(mine, true) <= 2 * error(honest, true) + 8 * torch.finfo(torch.float32).eps


def test_one_decay_for_all_channels_is_the_gated_delta_rule() -> None:
    q, k, v, log_decay, beta, state = draw(2, 40)
    log_decay = log_decay[..., :1]
    ours = channel_delta_rule(q, k, v, log_decay, beta, state)
    theirs = gated_delta_rule(q, k, v, log_decay[..., 0], beta, state)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected)


def test_runs_repeat_bit_for_bit() -> None:
    inputs = [x.float() for x in draw(3, 130)]
    first, second = (with_gradients(Impl.CHUNKED, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("time", [1, 2, 9, 64, 128])
def test_cost_is_what_a_counter_sees(time: int) -> None:
    inputs = draw(3, time)
    with FlopCounterMode(display=False) as counter:
        chunked.channel_delta_rule(*inputs)
    per_token = cost.forward_flops_per_token(time, KEY, VALUE)
    assert counter.get_total_flops() == 2 * 3 * time * per_token
    if time == 1:
        assert per_token == cost.step_flops(KEY, VALUE)


def test_the_solve_is_counted_apart() -> None:
    def solve(matrix: list[int], right: list[int], **_: object) -> int:
        rows, columns = right[-2:]
        return right[0] * right[1] * right[2] * columns * rows * (rows - 1)

    mapping = {torch.ops.aten.linalg_solve_triangular: solve}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        chunked.channel_delta_rule(*draw(3, 64))
    per_token = cost.forward_flops_per_token(64, KEY, VALUE) + cost.solve_flops_per_token(64)
    assert counter.get_total_flops() == 2 * 3 * 64 * per_token


def test_cost_and_code_agree_on_the_chunk() -> None:
    assert cost.CHANNEL_DELTA_CHUNK == chunked.CHANNEL_DELTA_CHUNK


@pytest.mark.parametrize("broken", range(6))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(2, 6)
    inputs[broken] = inputs[broken][..., :3]
    name = ("k", "k", "state", "log_decay", "beta", "state")[broken]
    with pytest.raises(ValueError, match=rf"channel_delta_rule: {name} must be"):
        channel_delta_rule(*inputs)


def test_a_missing_implementation_is_named() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"channel_delta_rule.*'triton'"):
        channel_delta_rule(*draw(1, 2))


def test_one_signature() -> None:
    assert (
        chunked.channel_delta_rule.__annotations__
        == reference.channel_delta_rule.__annotations__
        == channel_delta_rule.__annotations__
    )
