"""Rotary positions: plain torch and Triton against the definition."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.rotary import checks, chunked, cost, reference
from nas.kernels.rotary.api import rotary
from nas.kernels.rotary.bench import BENCHMARK
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.runtime.row_checks import check_benchmark, check_compiles
from nas.search_spaces.positions.rotary.module import Rotary

CHUNKED = Impl.CHUNKED


@pytest.mark.parametrize("shape", checks.SHAPES.values(), ids=checks.SHAPES)
def test_torch_is_the_definition(shape: tuple[int, ...]) -> None:
    checks.check_values(CHUNKED, shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(CHUNKED, dtype)


def test_the_rest_of_what_torch_is_held_to() -> None:
    checks.check_a_split_equals_the_whole(CHUNKED)
    checks.check_packed_sequences_start_again(CHUNKED)
    checks.check_any_layout(CHUNKED)
    checks.check_runs_repeat(CHUNKED)
    checks.check_extremes(CHUNKED)


def test_it_is_the_position_of_the_search_space() -> None:
    q, k = torch.randn(2, 3, 9, 8), torch.randn(2, 1, 9, 8)
    channel = torch.arange(4, dtype=torch.float32)
    found = rotary(q, k, 500.0 ** (-channel / 4), 11)
    for mine, x in zip(found, (q, k), strict=True):
        assert torch.equal(mine, Rotary(base=500.0)(x, 11))


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("width", "rotary_width"), [(64, 64), (80, 32)])
def test_kernels_fit_a_gpu(width: int, rotary_width: int, arch: int) -> None:
    from nas.kernels.rotary.triton import rotary

    inputs = (bf16(1, 16, 4096, width), bf16(1, 4, 4096, width), torch.ones(rotary_width // 2))
    check_compiles(partial(rotary, position=3), inputs, arch, kernels=2)


def test_frequencies_are_a_constant() -> None:
    inputs, frequencies = checks.draw(checks.SHAPES["grouped"])
    frequencies.requires_grad_()
    for impl in (Impl.CHUNKED, Impl.REFERENCE):
        with use_impl(impl):
            assert not any(x.requires_grad for x in rotary(*inputs, frequencies))


def test_there_is_no_matrix_product() -> None:
    with FlopCounterMode(display=False) as counter:
        rotary(torch.ones(1, 2, 3, 4), torch.ones(1, 1, 3, 4), torch.ones(2))
    flops = cost.forward_flops_per_token(2, 1, 4)
    assert counter.get_total_flops() == flops == cost.step_flops(2, 1, 4) == 0


def test_the_benchmark_runs() -> None:
    check_benchmark(BENCHMARK, cost.forward_flops_per_token(16, 4, 64))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"q": torch.ones(3, 4)}, "q must be"),
        ({"k": torch.ones(1, 2, 4, 4)}, "k must be"),
        ({"k": torch.ones(2, 3, 4)}, "k must be"),
        ({"frequencies": torch.ones(3)}, "frequencies must be"),
        ({"frequencies": torch.ones(1, 2)}, "frequencies must be"),
        ({"position": torch.ones(2, 3, dtype=torch.int64)}, "position must be"),
        ({"position": torch.ones(1, 3)}, "position must be integers"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Tensor], what: str) -> None:
    q, k = torch.ones(1, 2, 3, 4), torch.ones(1, 1, 3, 4)
    fits = {"q": q, "k": k, "frequencies": torch.ones(2), "position": 0}
    with pytest.raises(ValueError, match=f"rotary: {what}"):
        rotary(**{**fits, **changed})


def test_triton_on_the_cpu_is_refused() -> None:
    q = torch.ones(1, 1, 1, 2)
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"rotary.*'triton'"):
        rotary(q, q, torch.ones(1))


def test_one_signature() -> None:
    assert (
        chunked.rotary.__annotations__ == reference.rotary.__annotations__ == rotary.__annotations__
    )


def bf16(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, requires_grad=True)
