"""Layer normalisation of a sum: plain torch and Triton against the definition."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.add_layer_norm import chunked, cost, reference
from nas.kernels.add_layer_norm.api import add_layer_norm
from nas.kernels.add_layer_norm.bench import BENCHMARK
from nas.kernels.add_layer_norm.checks import OPS, check_two_steps
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.runtime.row_checks import (
    ROW_CHECKS,
    RowCheck,
    RowOp,
    check_benchmark,
    check_compiles,
    check_each_result_alone,
)


@pytest.mark.parametrize("check", ROW_CHECKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch(op: RowOp, check: RowCheck) -> None:
    check(Impl.CHUNKED, op)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch_where_one_result_is_used(op: RowOp) -> None:
    check_each_result_alone(Impl.CHUNKED, op)


def test_torch_is_the_two_steps() -> None:
    check_two_steps(Impl.CHUNKED)


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("width", "kernels"), [(1024, 2), (8192, 3)])
def test_kernels_fit_a_gpu(width: int, kernels: int, arch: int) -> None:
    from nas.kernels.add_layer_norm.triton import add_layer_norm

    inputs = (bf16(64, width), bf16(64, width), bf16(width), bf16(width), 1e-5)
    check_compiles(add_layer_norm, inputs, arch, kernels)


def test_there_is_no_matrix_product() -> None:
    with FlopCounterMode(display=False) as counter:
        add_layer_norm(torch.ones(2, 4), torch.ones(2, 4), torch.ones(4), None, 1e-5)
    assert counter.get_total_flops() == cost.forward_flops_per_token(4) == cost.step_flops(4) == 0


def test_the_benchmark_runs() -> None:
    check_benchmark(BENCHMARK, cost.forward_flops_per_token(1024))


def test_a_shape_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="add_layer_norm: residual must be"):
        add_layer_norm(torch.ones(2, 4), torch.ones(4), torch.ones(4), None, 1e-5)
    with pytest.raises(ValueError, match="add_layer_norm: weight must be"):
        add_layer_norm(torch.ones(2, 4), torch.ones(2, 4), torch.ones(3), None, 1e-5)
    with pytest.raises(ValueError, match="add_layer_norm: bias must be"):
        add_layer_norm(torch.ones(2, 4), torch.ones(2, 4), torch.ones(4), torch.ones(3), 1e-5)


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"add_layer_norm.*'triton'"):
        add_layer_norm(torch.ones(2, 4), torch.ones(2, 4), torch.ones(4), None, 1e-5)


def test_one_signature() -> None:
    assert (
        chunked.add_layer_norm.__annotations__
        == reference.add_layer_norm.__annotations__
        == add_layer_norm.__annotations__
    )


def bf16(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, requires_grad=True)
