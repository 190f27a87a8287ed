"""The K largest: plain torch and Triton against the definition."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.top_k import bench, checks, cost, triton
from nas.kernels.top_k.api import top_k

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize(("shape", "k"), checks.SIZES)
def test_torch_is_the_definition(shape: tuple[int, ...], k: int) -> None:
    checks.check_values(Impl.CHUNKED, shape, k)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.CHUNKED, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_with_equal_and_infinite_scores(dtype: torch.dtype) -> None:
    checks.check_ties(Impl.CHUNKED, dtype)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_gradient_of_ties,
        checks.check_layouts,
        checks.check_row_alone,
        checks.check_no_rows,
    ],
)
def test_torch_holds_to(check: checks.Check) -> None:
    check(Impl.CHUNKED)


def test_the_definition_orders_as_a_stable_sort_does() -> None:
    scores = checks.draw((8, 50), torch.bfloat16).round(decimals=1)
    values, indices = scores.sort(dim=-1, descending=True, stable=True)
    mine = checks.found(Impl.REFERENCE, scores, 50)
    assert torch.equal(mine[0], values)
    assert torch.equal(mine[1], indices)


@pytest.mark.parametrize("k", [0, 5])
def test_a_number_out_of_range_is_named(k: int) -> None:
    with pytest.raises(ValueError, match=f"top_k: k must be from 1 to the 4 .* is {k}"):
        top_k(torch.zeros(2, 4), k)


def test_there_is_no_matrix_product() -> None:
    with FlopCounterMode(display=False) as counter:
        top_k(checks.draw((3, 8)), 2)
    flops = counter.get_total_flops()
    assert flops == cost.forward_flops_per_token(8, 2) == cost.step_flops(8, 2) == 0


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"top_k.*'triton'"):
        top_k(torch.ones(2, 4), 1)


def test_triton_in_a_process_of_its_own() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("entries", "k"), [(8, 2), (1024, 8), (triton.MAX_ENTRIES, 32)])
def test_the_kernels_compile_without_spilling(arch: int, entries: int, k: int) -> None:
    def run() -> None:
        scores = torch.empty(4096, entries, dtype=torch.bfloat16, requires_grad=True)
        triton.top_k(scores, k)[0].backward(torch.empty(4096, k, dtype=torch.bfloat16))

    kernels = compiled(run, arch)
    assert [kernel.kernel for kernel in kernels] == ["_pick", "_spread"]
    assert all(kernel.fits and kernel.spilled_bytes == 0 for kernel in kernels), kernels


def test_the_smallest_case_of_the_benchmark_runs() -> None:
    case = bench.BENCHMARK.cases[0]
    inputs = case.draw()
    assert bench.BENCHMARK.call(*inputs).shape[0] == case.time
    assert case.flops == cost.forward_flops_per_token(bench.ENTRIES, bench.K) * case.time
    assert all(peer(*inputs).shape[0] == case.time for peer in bench.BENCHMARK.peers().values())
