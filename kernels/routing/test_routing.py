"""Routing: plain torch and Triton against the definition."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.routing import bench, checks, cost, triton
from nas.kernels.routing.api import combine, dispatch, route
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl


@pytest.mark.parametrize("sizes", checks.SIZES)
def test_torch_is_the_definition(sizes: tuple[int, int, int, int]) -> None:
    checks.check_routes(Impl.CHUNKED, *sizes)
    checks.check_values(Impl.CHUNKED, *sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.CHUNKED, dtype)


@pytest.mark.parametrize("check", checks.CHECKS)
def test_torch_holds_to(check: checks.Check) -> None:
    check(Impl.CHUNKED)


def test_the_definition_sorts_copies_and_keeps_their_order() -> None:
    chosen = torch.tensor([[2, 0], [0, 1], [2, 0]])
    found = checks.found(Impl.REFERENCE, chosen, 4)
    assert found.order.tolist() == [1, 2, 5, 3, 0, 4]
    assert found.places.tolist() == [[4, 0], [1, 3], [5, 2]]
    assert found.sizes.tolist() == [3, 1, 2, 0]
    found = checks.found(Impl.REFERENCE, chosen, 4, 2)
    assert found.order.tolist() == [1, 2, 3, 0, 4, -1]
    assert found.places.tolist() == [[3, 0], [1, 2], [4, -1]]
    assert found.sizes.tolist() == [2, 1, 2, 0]


def test_what_does_not_fit_is_named() -> None:
    chosen = torch.zeros(4, 2, dtype=torch.int64)
    where = route(chosen, 1)
    calls = {
        "chosen must be": lambda: route(chosen.double(), 1),
        "N, K": lambda: route(chosen[0], 1),
        "capacity must be": lambda: route(chosen, 1, 0),
        "experts and": lambda: route(chosen, 0),
        "x must be": lambda: dispatch(torch.ones(3, 5), where),
        "rows must be": lambda: combine(torch.ones(4, 5), torch.ones(4, 2), where),
        "weights must be": lambda: combine(torch.ones(8, 5), torch.ones(4, 1), where),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=f"routing: .*{message}"):
            call()
    with pytest.raises(IndexError, match="expert 3 was chosen of 2"):
        route(chosen + 3, 2)


def test_there_is_no_matrix_product() -> None:
    case = bench.BENCHMARK.cases[0]
    with FlopCounterMode(display=False) as counter:
        bench.BENCHMARK.call(*case.draw())
    assert counter.get_total_flops() == case.flops == cost.step_flops(2, 3) == 0


def test_the_benchmark_and_its_peers_compute_the_same() -> None:
    inputs = bench.BENCHMARK.cases[0].draw()
    y = bench.BENCHMARK.call(*inputs)
    for peer in bench.BENCHMARK.peers().values():
        torch.testing.assert_close(peer(*inputs), y)


def test_triton_on_the_cpu_is_refused() -> None:
    chosen = torch.zeros(4, 2, dtype=torch.int64)
    where = route(chosen, 1)
    calls = (
        lambda: route(chosen, 1),
        lambda: dispatch(torch.ones(4, 5), where),
        lambda: combine(torch.ones(8, 5), torch.ones(4, 2), where),
    )
    for call in calls:
        with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"routing.*'triton'"):
            call()


def test_triton_in_a_process_of_its_own() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
def test_the_kernels_compile_without_spilling(arch: int) -> None:
    def run() -> None:
        chosen = torch.empty(4096, 2, dtype=torch.int64)
        order, places, _ = triton.route(chosen, 16, 512)
        x = torch.empty(4096, 256, dtype=torch.bfloat16, requires_grad=True)
        weights = torch.empty(4096, 2, requires_grad=True)
        rows = triton.dispatch(x, order, places)
        triton.combine(rows, weights, order, places).backward(torch.empty_like(x))

    kernels = compiled(run, arch)
    names = {kernel.kernel for kernel in kernels}
    assert {
        "_count",
        "_add_up",
        "_place",
        "_gather",
        "_sum_copies",
        "_routing_weight_gradient",
    } == names
    assert all(kernel.fits and kernel.spilled_bytes == 0 for kernel in kernels), kernels
