"""A grouped matrix product: plain torch and Triton against the definition."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.grouped_matmul import bench, checks, cost, triton
from nas.kernels.grouped_matmul.api import grouped_matmul
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl


@pytest.mark.parametrize(("sizes", "inputs", "outputs"), checks.SIZES)
def test_torch_is_the_definition(sizes: tuple[int, ...], inputs: int, outputs: int) -> None:
    checks.check_values(Impl.CHUNKED, sizes, inputs, outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.CHUNKED, dtype)


@pytest.mark.parametrize("check", [c for c in checks.CHECKS if c is not checks.check_row_alone])
def test_torch_holds_to(check: checks.Check) -> None:
    """A row alone is left out: torch multiplies matrices of other heights in other ways."""
    check(Impl.CHUNKED)


def test_flops_are_those_of_the_rows_that_have_a_group() -> None:
    inputs = checks.draw((5, 0, 7), 6, 10, rest=3)
    with FlopCounterMode(display=False) as counter:
        grouped_matmul(*inputs)
    assert counter.get_total_flops() == 12 * cost.forward_flops_per_token(6, 10)
    assert cost.step_flops(6, 10) == cost.forward_flops_per_token(6, 10) == 120


@pytest.mark.parametrize(
    ("x", "weight", "sizes", "message"),
    [
        ((4, 3), (2, 5, 6), (2,), "x must be"),
        ((4, 3), (2, 3, 6), (3,), "sizes must be"),
        ((4,), (2, 3, 6), (2,), "x must be"),
        ((4, 3), (3, 6), (2,), "weight"),
        ((4, 3), (0, 3, 6), (0,), "E >= 1"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    x: tuple[int, ...], weight: tuple[int, ...], sizes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"grouped_matmul: .*{message}"):
        grouped_matmul(torch.ones(x), torch.ones(weight), torch.ones(sizes, dtype=torch.int64))


def test_dtypes_that_do_not_fit_are_named() -> None:
    x, weight, sizes = checks.draw((2, 2), 3, 4)
    for bad in ((x.float(), weight, sizes), (x, weight, sizes.double())):
        with pytest.raises(ValueError, match="grouped_matmul: weight must have"):
            grouped_matmul(*bad)


def test_more_rows_than_there_are_cannot_be_split() -> None:
    x, weight, sizes = checks.draw((2, 2), 3, 4)
    with pytest.raises((RuntimeError, ValueError), match="split"):
        grouped_matmul(x, weight, sizes + 1)


def test_triton_on_the_cpu_is_refused() -> None:
    inputs = checks.draw((2, 2), 3, 4)
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"grouped_matmul.*'triton'"):
        grouped_matmul(*inputs)


def test_triton_in_a_process_of_its_own() -> None:
    check_triton(__file__)


@pytest.mark.parametrize(
    ("rows", "dtype", "arch"),
    [(1024, torch.bfloat16, 80), (8192, torch.bfloat16, 90), (1024, torch.float32, 80)],
)
def test_the_kernels_compile_without_spilling(rows: int, dtype: torch.dtype, arch: int) -> None:
    """Tiles of both heights; the products of forward and backward differ in the weight's order."""

    def run() -> None:
        x = torch.empty(rows, 256, dtype=dtype, requires_grad=True)
        weight = torch.empty(8, 256, 512, dtype=dtype, requires_grad=True)
        y = triton.grouped_matmul(x, weight, torch.empty(8, dtype=torch.int64))
        y.backward(torch.empty_like(y))

    kernels = compiled(run, arch)
    names = [kernel.kernel for kernel in kernels]
    assert names == ["_map_tiles", "_multiply", "_multiply", "_sum_outer_products"]
    assert all(kernel.fits and kernel.spilled_bytes == 0 for kernel in kernels), kernels


def test_the_smallest_case_of_the_benchmark_runs() -> None:
    case = bench.BENCHMARK.cases[0]
    inputs = case.draw()
    with FlopCounterMode(display=False) as counter:
        y = bench.BENCHMARK.call(*inputs)
    assert counter.get_total_flops() == case.flops
    for peer in bench.BENCHMARK.peers().values():
        torch.testing.assert_close(peer(*inputs), y)
