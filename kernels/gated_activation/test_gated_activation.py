"""Gated activations: plain torch and Triton against the definition."""

from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.gated_activation import chunked, cost, reference
from nas.kernels.gated_activation.api import gated_activation
from nas.kernels.gated_activation.bench import BENCHMARK
from nas.kernels.gated_activation.checks import OPS
from nas.kernels.gated_activation.names import ActivationName
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.runtime.row_checks import (
    ROW_CHECKS,
    RowCheck,
    RowOp,
    check_benchmark,
    check_compiles,
)

ACTIVATIONS = pytest.mark.parametrize("activation", get_args(ActivationName))


@pytest.mark.parametrize("check", ROW_CHECKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch(op: RowOp, check: RowCheck) -> None:
    check(Impl.CHUNKED, op)


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@ACTIVATIONS
def test_kernels_fit_a_gpu(activation: ActivationName, arch: int) -> None:
    from nas.kernels.gated_activation.triton import gated_activation

    inputs: list[Any] = [bf16(64, 1376), bf16(64, 1376), activation]
    check_compiles(gated_activation, inputs, arch, kernels=2)


@pytest.mark.parametrize(
    ("width", "block"), [(1, 1), (3, 4), (64, 64), (100, 128), (1024, 1024), (1376, 512)]
)
def test_blocks_leave_little_empty(width: int, block: int) -> None:
    from nas.kernels.gated_activation.triton import _gate_block

    assert _gate_block(width) == block


@ACTIVATIONS
def test_nan_stays(activation: ActivationName) -> None:
    one = torch.ones(1)
    assert gated_activation(one * torch.nan, one, activation).isnan().all()


def test_there_is_no_matrix_product() -> None:
    with FlopCounterMode(display=False) as counter:
        gated_activation(torch.ones(2, 4), torch.ones(2, 4), "silu")
    assert counter.get_total_flops() == cost.forward_flops_per_token(4) == cost.step_flops(4) == 0


def test_the_benchmark_runs() -> None:
    check_benchmark(BENCHMARK, cost.forward_flops_per_token(2816))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="gated_activation: up must be"):
        gated_activation(torch.ones(2, 4), torch.ones(4), "silu")
    with pytest.raises(ValueError, match=r"activation must be one of silu, gelu, .* but is 'elu'"):
        gated_activation(torch.ones(2), torch.ones(2), "elu")  # type: ignore[arg-type]


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"gated_activation.*'triton'"):
        gated_activation(torch.ones(2), torch.ones(2), "silu")


def test_one_signature() -> None:
    hints = [
        get_type_hints(form)
        for form in (gated_activation, chunked.gated_activation, reference.gated_activation)
    ]
    assert hints[0] == hints[1] == hints[2]


def bf16(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, requires_grad=True)
