"""The selective scan: the chunked form against the definition, in values, gradients and cost."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import Compiled, compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.selective_scan import chunked, cost, reference, triton
from nas.kernels.selective_scan.api import selective_scan
from nas.kernels.selective_scan.bench import BENCHMARK
from nas.kernels.selective_scan.checks import (
    CHANNELS,
    KINDS,
    STATES,
    check_layouts,
    check_rate,
    check_split,
    check_values,
    draw,
)

IMPL = Impl.CHUNKED
COUNTED = ("selective", "fixed")


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [1, 2, 7, 33, 128, 129, 260])
def test_chunked_is_the_definition(time: int, kind: str, with_state: bool) -> None:
    check_values(IMPL, time, kind, with_state)


@pytest.mark.parametrize("check", [check_split, check_layouts])
def test_in_every_form(check: Callable[[Impl], None]) -> None:
    check(IMPL)


@pytest.mark.parametrize("rate", [-1e-6, -1.0, -1e4])
def test_float32_is_as_good_as_the_definition_in_it(rate: float) -> None:
    check_rate(IMPL, rate, 150)


def test_low_precision_keeps_its_state_in_float32() -> None:
    low = [x.bfloat16() for x in draw(150, "selective")]
    y, last = selective_scan(*low)
    true, _ = reference.selective_scan(*(x.double() for x in low))
    assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    assert (y - true).abs().max() <= 1e-2 * true.abs().max()


@pytest.mark.parametrize("kind", COUNTED)
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


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"selective_scan.*'triton'"):
        selective_scan(*draw(2, "fixed"))


def test_one_signature() -> None:
    assert (
        chunked.selective_scan.__annotations__
        == reference.selective_scan.__annotations__
        == triton.selective_scan.__annotations__
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


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
def test_triton_compiles_without_spills(arch: int) -> None:
    kernels = [k for k in compile_kernels(16, arch) if k.kernel.startswith("_selective")]
    assert len(kernels) == 4
    for kernel in kernels:
        assert kernel.fits
        assert kernel.spilled_bytes == 0, kernel


def compile_kernels(states: int, arch: int) -> list[Compiled]:
    """Forward and backward as in Mamba under mixed precision."""

    def run() -> None:
        time, channels = 4096, 512
        x = torch.empty(1, time, channels, dtype=torch.bfloat16)
        write, read = (torch.empty(1, time, states, 1, dtype=torch.bfloat16) for _ in range(2))
        step, state = torch.empty(1, time, channels), torch.empty(1, states, channels)
        inputs = (x, step, torch.empty(states, channels), write, read, state)
        leaves = [t.requires_grad_() for t in inputs]
        results = triton.selective_scan(*leaves)
        torch.autograd.grad(results, leaves, [torch.empty_like(t) for t in results])

    return compiled(run, arch)


def test_the_benchmark_measures_this_op() -> None:
    case = BENCHMARK.cases[0]
    inputs = case.draw()
    with FlopCounterMode(display=False) as counter:
        expected = selective_scan(*inputs)[0]
    assert torch.equal(BENCHMARK.call(*inputs), expected)
    assert case.flops == counter.get_total_flops()
    assert case.values_moved == sum(x.numel() for x in inputs) + expected.numel()
