"""Linear attention: the chunked form against the definition, in values, gradients and cost."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.linear_attention import chunked, cost, reference
from nas.kernels.linear_attention.api import linear_attention
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

KEY, VALUE = 5, 7
DECAYS = {
    "token": (2, 0, -1, 1),
    "head": (1, 0, 1, 1),
    "channel": (2, 0, -1, KEY),
    "head channel": (1, 0, 1, KEY),
    "one": (1, 1, 1, 1),
}
"""Shapes of log_decay, where 0 stands for the heads and -1 for the time."""
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def draw(heads: int, time: int, decay: str, *, seed: int = 0) -> list[Tensor]:
    """q, k, v, log_decay and a state in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shape = ({0: heads, -1: time}.get(size, size) for size in DECAYS[decay])
    keys, values = (2, heads, time, KEY), (2, heads, time, VALUE)
    log_decay = -softplus(normal(*shape))
    return [normal(*keys), normal(*keys), normal(*values), log_decay, normal(2, heads, KEY, VALUE)]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """The output, the state, and the gradient of every input for a fixed random cotangent."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl):
        results = linear_attention(*leaves)
    torch.manual_seed(1)
    cotangents = [torch.randn_like(x) for x in results]
    return [*results, *torch.autograd.grad(results, leaves, cotangents)]


def error(result: Tensor, exact: Tensor) -> float:
    """Largest error, relative to the largest exact value unless that is 0."""
    scale = float(exact.detach().abs().max()) or 1.0
    return float((result.double() - exact).detach().abs().max()) / scale


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 17, 63, 64, 65, 130])
def test_chunked_is_the_definition(time: int, heads: int, decay: str, with_state: bool) -> None:
    inputs = draw(heads, time, decay)[: 5 if with_state else 4]
    for fast, slow in zip(
        with_gradients(Impl.CHUNKED, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True
    ):
        assert error(fast, slow) < 1e-10


@pytest.mark.parametrize("impl", [Impl.CHUNKED, Impl.REFERENCE])
@pytest.mark.parametrize("decay", ["token", "channel"])
def test_the_state_carries_over_a_split(impl: Impl, decay: str) -> None:
    *inputs, state = draw(2, 50, decay)
    with use_impl(impl):
        whole, last = linear_attention(*[*inputs, state])
        parts = []
        for part in (slice(0, 33), slice(33, 34), slice(34, 50)):
            o, state = linear_attention(*[*(x[:, :, part] for x in inputs), state])
            parts.append(o)
    assert error(torch.cat(parts, dim=2), whole) < 1e-12
    assert error(state, last) < 1e-12


@pytest.mark.parametrize("decay", ["token", "channel"])
def test_a_change_in_the_future_changes_nothing_before_it(decay: str) -> None:
    inputs = draw(2, 70, decay)[:4]
    before, _ = linear_attention(*inputs)
    for x in inputs:
        x[:, :, 45:] *= 0.5
    after, _ = linear_attention(*inputs)
    # With a decay per channel the middle of a chunk moves, and with it the rounding.
    assert error(after[:, :, :45], before[:, :, :45]) <= (1e-14 if decay == "channel" else 0)
    assert not torch.equal(before[:, :, 45:], after[:, :, 45:])


@DTYPES
@pytest.mark.parametrize("decay", DECAYS)
def test_low_precision_is_as_good_as_the_definition_in_it(decay: str, dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in draw(2, 130, decay)]
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast = with_gradients(Impl.CHUNKED, low)
    slow = with_gradients(Impl.REFERENCE, low)
    assert fast[0].dtype == dtype
    assert fast[1].dtype == torch.float32
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert error(mine, true) <= 2 * error(honest, true) + 4 * torch.finfo(mine.dtype).eps


@pytest.mark.parametrize("width", [1, KEY])
@pytest.mark.parametrize("rate", [-1e-4, -1.0, -10.0])
def test_decays_up_to_the_end_of_the_range(rate: float, width: int) -> None:
    low = [x.float() for x in draw(2, 70, "one")]
    low[3] = torch.full((2, 2, 70, width), rate)
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast = with_gradients(Impl.CHUNKED, low)
    slow = with_gradients(Impl.REFERENCE, low)
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert error(mine, true) <= 2 * error(honest, true) + 8 * torch.finfo(torch.float32).eps


def test_one_decay_per_head_may_be_as_strong_as_it_likes() -> None:
    inputs = [x.float() for x in draw(2, 70, "one")]
    inputs[3] = torch.full((2, 2, 70, 1), -1e4)
    assert all(x.isfinite().all() for x in with_gradients(Impl.CHUNKED, inputs))


def test_runs_repeat_bit_for_bit() -> None:
    inputs = [x.float() for x in draw(3, 130, "channel")]
    first, second = (with_gradients(Impl.CHUNKED, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("decay", ["token", "channel"])
@pytest.mark.parametrize("time", [1, 2, 9, 64, 128])
def test_cost_is_what_a_counter_sees(time: int, decay: str) -> None:
    inputs = draw(3, time, decay)
    with FlopCounterMode(display=False) as counter:
        chunked.linear_attention(*inputs)
    per_token = cost.forward_flops_per_token(time, KEY, VALUE, per_channel=decay == "channel")
    assert counter.get_total_flops() == 2 * 3 * time * per_token
    if time == 1:
        assert per_token == cost.step_flops(KEY, VALUE)


def test_cost_and_code_agree_on_the_chunk() -> None:
    assert cost.LINEAR_CHUNK == chunked.LINEAR_CHUNK
    assert cost.LINEAR_CHANNEL_CHUNK == chunked.LINEAR_CHANNEL_CHUNK


@pytest.mark.parametrize("broken", range(5))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(2, 6, "channel")
    inputs[broken] = inputs[broken][..., :3]
    name = ("k", "k", "state", "log_decay", "state")[broken]
    with pytest.raises(ValueError, match=rf"linear_attention: {name} must be"):
        linear_attention(*inputs)


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="T >= 1"):
        linear_attention(*(x[:, :, :0] for x in draw(1, 2, "token")[:4]))


def test_a_missing_implementation_is_named() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"linear_attention.*'triton'"):
        linear_attention(*draw(1, 2, "token"))


def test_one_signature() -> None:
    assert (
        chunked.linear_attention.__annotations__
        == reference.linear_attention.__annotations__
        == linear_attention.__annotations__
    )
