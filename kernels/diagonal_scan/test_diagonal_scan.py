"""The diagonal recurrence: the chunked form against the definition, in values and gradients."""

from collections.abc import Callable

import pytest
import torch

from nas.kernels.diagonal_scan import chunked, reference, triton
from nas.kernels.diagonal_scan.api import diagonal_scan
from nas.kernels.diagonal_scan.bench import BENCHMARK
from nas.kernels.diagonal_scan.checks import (
    DECAYS,
    check_layouts,
    check_mixed,
    check_split,
    check_values,
    check_zero_and_one,
    draw,
)
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import Compiled, compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

IMPL = Impl.CHUNKED


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("values", [0, 30, 1000], ids=["step by step", "few chunks", "many"])
@pytest.mark.parametrize("time", [1, 2, 7, 33, 64, 65])
def test_chunked_is_the_definition(
    time: int, values: int, decay: str, with_state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "SCAN_VALUES_CPU", values)
    check_values(IMPL, time, decay, with_state)


def test_decays_of_zero_and_one() -> None:
    check_zero_and_one(IMPL, 50)


@pytest.mark.parametrize("check", [check_split, check_mixed, check_layouts])
def test_in_every_form(check: Callable[[Impl], None]) -> None:
    check(IMPL)


def test_low_precision_keeps_its_state_in_float32() -> None:
    exact = draw(200, "token")
    low = [x.bfloat16() for x in exact]
    h, last = diagonal_scan(*low)
    true, _ = reference.diagonal_scan(*(x.double() for x in low))
    assert (h.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(h.double(), true, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("broken", range(3))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(6, "token")
    inputs[broken] = inputs[broken][..., :3]
    name = ("decay", "decay", "state")[broken]
    with pytest.raises(ValueError, match=rf"diagonal_scan: {name} must be"):
        diagonal_scan(*inputs)


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="T >= 1"):
        diagonal_scan(*(x[:, :0] for x in draw(2, "token")[:2]))


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"diagonal_scan.*'triton'"):
        diagonal_scan(*draw(2, "token"))


def test_one_signature() -> None:
    assert (
        chunked.diagonal_scan.__annotations__
        == reference.diagonal_scan.__annotations__
        == triton.diagonal_scan.__annotations__
        == diagonal_scan.__annotations__
    )


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
def test_triton_compiles_without_spills(arch: int) -> None:
    kernels = compile_kernels(arch)
    assert {kernel.kernel for kernel in kernels} == {"_diagonal_ends", "_diagonal_scan"}
    for kernel in kernels:
        assert kernel.fits
        assert kernel.spilled_bytes == 0, kernel


def compile_kernels(arch: int) -> list[Compiled]:
    """Forward and backward in bfloat16 with decays of float32."""

    def run() -> None:
        x = torch.empty(1, 4096, 512, dtype=torch.bfloat16)
        inputs = [t.requires_grad_() for t in (x, torch.empty(1, 4096, 512), torch.empty(1, 512))]
        results = triton.diagonal_scan(*inputs)
        torch.autograd.grad(results, inputs, [torch.empty_like(t) for t in results])

    return compiled(run, arch)


def test_the_benchmark_measures_this_op() -> None:
    case = BENCHMARK.cases[0]
    inputs = case.draw()
    expected = diagonal_scan(*inputs)[0]
    assert torch.equal(BENCHMARK.call(*inputs), expected)
    assert case.flops == 0
    assert case.values_moved == 3 * expected.numel()
    for name, peer in BENCHMARK.peers().items():
        if name.startswith("torch"):
            torch.testing.assert_close(peer(*inputs), expected, msg=name)
