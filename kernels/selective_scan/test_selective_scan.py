"""The selective scan: the chunked form against the definition, in values, gradients and cost."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.selective_scan import chunked, cost, reference
from nas.kernels.selective_scan.api import selective_scan

CHANNELS, STATES = 5, 3
KINDS = ("selective", "fixed")


def draw(time: int, kind: str) -> list[Tensor]:
    """x, step, rates, write, read and a state in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    gain = (2, time, STATES, 1) if kind == "selective" else (1, 1, STATES, CHANNELS)
    step = (2, time, CHANNELS) if kind == "selective" else (1, 1, CHANNELS)
    rates = -softplus(normal(STATES, CHANNELS))
    x, state = normal(2, time, CHANNELS), normal(2, STATES, CHANNELS)
    return [x, softplus(normal(*step)), rates, normal(*gain), normal(*gain), state]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """y, the state, and the gradient of every input for a fixed random cotangent."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl):
        results = selective_scan(*leaves)
    torch.manual_seed(1)
    cotangents = [torch.randn_like(x) for x in results]
    return [*results, *torch.autograd.grad(results, leaves, cotangents)]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [1, 2, 7, 33, 128, 129, 260])
def test_chunked_is_the_definition(time: int, kind: str, with_state: bool) -> None:
    inputs = draw(time, kind)[: 6 if with_state else 5]
    for fast, slow in zip(
        with_gradients(Impl.CHUNKED, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True
    ):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-11)


def test_the_state_carries_over_a_split() -> None:
    x, step, rates, write, read, state = draw(50, "selective")
    whole, last = selective_scan(x, step, rates, write, read, state)
    parts = []
    for part in (slice(0, 33), slice(33, 34), slice(34, 50)):
        timed = (x[:, part], step[:, part], rates, write[:, part], read[:, part])
        y, state = selective_scan(*timed, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("rate", [-1e-6, -1.0, -1e4])
def test_float32_is_as_good_as_the_definition_in_it(rate: float) -> None:
    low = [x.float() for x in draw(150, "selective")]
    low[2] = torch.full_like(low[2], rate)
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast, slow = with_gradients(Impl.CHUNKED, low), with_gradients(Impl.REFERENCE, low)
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        largest = true.abs().max()
        allowed = 2 * (honest - true).abs().max() + 1e-5 * largest
        assert (mine - true).abs().max() <= allowed


def test_low_precision_keeps_its_state_in_float32() -> None:
    low = [x.bfloat16() for x in draw(150, "selective")]
    y, last = selective_scan(*low)
    true, _ = reference.selective_scan(*(x.double() for x in low))
    assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    assert (y - true).abs().max() <= 1e-2 * true.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [1, 2, 9, 64, 130])
def test_cost_is_what_a_counter_sees(time: int, kind: str) -> None:
    with FlopCounterMode(display=False) as counter:
        chunked.selective_scan(*draw(time, kind))
    per_token = cost.selective_scan_flops(STATES, CHANNELS, shared_read=kind == "selective")
    assert counter.get_total_flops() == 2 * time * per_token


@pytest.mark.parametrize("broken", range(6))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(6, "fixed")
    inputs[broken] = inputs[broken][..., :3]
    name = ("step", "step", "rates", "write", "read", "state")[broken]
    with pytest.raises(ValueError, match=rf"selective_scan: {name} must be"):
        selective_scan(*inputs)


def test_an_empty_sequence_is_refused() -> None:
    inputs = draw(2, "fixed")
    with pytest.raises(ValueError, match="T >= 1"):
        selective_scan(inputs[0][:, :0], *inputs[1:])


def test_a_missing_implementation_is_named() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"selective_scan.*'triton'"):
        selective_scan(*draw(2, "fixed"))


def test_one_signature() -> None:
    assert (
        chunked.selective_scan.__annotations__
        == reference.selective_scan.__annotations__
        == selective_scan.__annotations__
    )


def test_gradients_under_mixed_precision_and_of_some_inputs_only() -> None:
    low = [x.float() for x in draw(200, "selective")]
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = selective_scan(low[0], low[1].requires_grad_(), *low[2:])
    assert y.dtype == torch.float32
    y.square().mean().backward()
    assert low[1].grad.isfinite().all()
    assert low[1].grad[:, :100].abs().max() > 0
    assert low[2].grad is None


def test_cost_and_code_agree_on_the_block() -> None:
    assert cost.SELECTIVE_BLOCK == chunked.SELECTIVE_BLOCK
