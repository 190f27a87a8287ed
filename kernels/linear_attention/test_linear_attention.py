"""Linear attention, chunked and in Triton, against the definition; and its cost."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.linear_attention import bench, checks, chunked, cost, reference, triton
from nas.kernels.linear_attention.api import linear_attention
from nas.kernels.linear_attention.checks import DECAYS, KEY, VALUE, draw
from nas.kernels.runtime.benchmark import Case
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

IMPL = Impl.CHUNKED
EITHER = pytest.mark.parametrize("decay", ["token", "channel"])


@pytest.mark.parametrize("given", [4, 5])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 17, 63, 64, 65, 130])
def test_chunked_is_the_definition(time: int, heads: int, decay: str, given: int) -> None:
    checks.check_values(IMPL, draw(heads, time, decay)[:given])


@pytest.mark.parametrize("impl", [Impl.CHUNKED, Impl.REFERENCE])
@EITHER
def test_the_state_carries_over_a_split(impl: Impl, decay: str) -> None:
    checks.check_split(impl, decay, [33, 34, 50])


@EITHER
def test_a_change_in_the_future_changes_nothing_before_it(decay: str) -> None:
    # With a decay per channel the middle of a chunk moves, and with it the rounding.
    checks.check_causal(IMPL, decay, 70, 45, 1e-14 if decay == "channel" else 0)


@pytest.mark.parametrize("decay", DECAYS)
def test_bfloat16_is_as_good_as_the_definition_in_it(decay: str) -> None:
    checks.check_low_precision(IMPL, draw(2, 130, decay), torch.bfloat16)


@pytest.mark.parametrize("decay", DECAYS)
def test_float32_is_as_good_as_the_definition_in_it(decay: str) -> None:
    checks.check_coarse_decays(IMPL, [x.float() for x in draw(2, 130, decay)])


@pytest.mark.parametrize("width", [1, KEY])
@pytest.mark.parametrize("rate", [-1e-4, -1.0, -10.0])
def test_decays_up_to_the_end_of_the_range(rate: float, width: int) -> None:
    checks.check_coarse_decays(IMPL, checks.draw_rate(rate, width, 70))


def test_one_decay_per_head_may_be_as_strong_as_it_likes() -> None:
    checks.check_strongest(IMPL, 1, 70)


def test_runs_repeat_bit_for_bit() -> None:
    checks.check_repeats(IMPL, "channel", 130)


@EITHER
def test_layouts(decay: str) -> None:
    checks.check_layouts(IMPL, decay, 40)


@EITHER
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


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"linear_attention.*'triton'"):
        linear_attention(*draw(1, 2, "token"))


def test_one_signature() -> None:
    tuned = dict(triton.linear_attention.__annotations__)
    tuned.pop("choices")  # which the choice of implementation hands on
    assert (
        chunked.linear_attention.__annotations__
        == reference.linear_attention.__annotations__
        == tuned
        == linear_attention.__annotations__
    )


def test_triton_is_the_definition() -> None:
    check_triton(__file__)


def _both_ways(size: int, decays: int) -> None:
    lines = (1, 2, 4096)
    wide = (*lines[:2], size, size)
    shapes = [*[(*lines, size)] * 3, (*lines, decays), wide]
    leaves = [torch.empty(shape, dtype=torch.bfloat16, requires_grad=True) for shape in shapes]
    o, last = triton.linear_attention(*leaves)
    torch.autograd.grad((o, last), leaves, (torch.empty_like(o), torch.empty_like(last)))


SPILLS = 64
"""Bytes of a thread at most: 16 of its 255 registers."""


@pytest.mark.parametrize(("arch", "size"), [(80, 128), (90, 64)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_kernels_compile_for_a_gpu(arch: int, size: int, per_channel: bool) -> None:
    kernels = compiled(lambda: _both_ways(size, size if per_channel else 1), arch)
    names = [kernel.kernel for kernel in kernels]
    assert sorted(set(names)) == ["carry_linear_states", "grade_inputs", "mix_values", "sum_decays"]
    assert all(kernel.fits for kernel in kernels), kernels
    assert all(kernel.spilled_bytes <= SPILLS for kernel in kernels), kernels


@pytest.mark.parametrize("case", [bench.BENCHMARK.cases[0], bench.BENCHMARK.cases[6]])
def test_the_smallest_cases_of_the_benchmark_run(case: Case) -> None:
    inputs = case.draw()
    with FlopCounterMode(display=False) as counter:
        o, _ = bench.BENCHMARK.call(*inputs)
    assert counter.get_total_flops() == case.flops
    assert o.isfinite().all()
