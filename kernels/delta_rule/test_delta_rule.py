"""The delta rules: the chunked and the Triton forms against the definition, and their cost."""

import pytest
import torch

from nas.kernels.channel_delta_rule.bench import BENCHMARK as CHANNEL_BENCHMARK
from nas.kernels.delta_rule import checks
from nas.kernels.delta_rule.checks import CHANNEL, GATED, RULES, Rule, draw
from nas.kernels.gated_delta_rule.bench import BENCHMARK as GATED_BENCHMARK
from nas.kernels.runtime.benchmark import Benchmark
from nas.kernels.runtime.checking import check_triton, error
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@rules
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 7, 16, 17, 33, 63, 64, 65, 70, 130])
def test_chunked_is_the_definition(
    rule: Rule, time: int, heads: int, decay: bool, with_state: bool
) -> None:
    inputs = draw(rule, heads, time, decay=decay)[: 6 if with_state else 5]
    checks.check_values(Impl.CHUNKED, rule, inputs)


@rules
@pytest.mark.parametrize("impl", [Impl.CHUNKED, Impl.REFERENCE])
def test_the_state_carries_over_a_split(rule: Rule, impl: Impl) -> None:
    checks.check_split(impl, rule, (33, 34, 50))


@rules
def test_a_change_in_the_future_changes_nothing_before_it(rule: Rule) -> None:
    checks.check_causal(Impl.CHUNKED, rule, 70, 45)


@rules
def test_a_full_write_is_read_back(rule: Rule) -> None:
    checks.check_full_write(Impl.CHUNKED, rule)


@rules
def test_orthogonal_keys_leave_plain_linear_attention(rule: Rule) -> None:
    checks.check_orthogonal_keys(Impl.CHUNKED, rule)


@rules
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("time", [66, 130])
def test_low_precision_is_as_good_as_the_definition_in_it(
    rule: Rule, time: int, dtype: torch.dtype, decay: bool
) -> None:
    checks.check_low_precision(Impl.CHUNKED, rule, dtype, time, decay=decay)


@rules
def test_almost_the_same_key_every_time(rule: Rule) -> None:
    checks.check_like_keys(Impl.CHUNKED, rule, 70)


@rules
def test_runs_repeat_bit_for_bit(rule: Rule) -> None:
    checks.check_repeats(Impl.CHUNKED, rule, 130)


@rules
def test_decays_and_betas_broadcast(rule: Rule) -> None:
    checks.check_broadcast(Impl.CHUNKED, rule, 40)


@rules
@pytest.mark.parametrize("time", [1, 2, 9, 64, 128])
def test_cost_is_what_a_counter_sees(rule: Rule, time: int) -> None:
    checks.check_cost(rule, time)


@rules
def test_the_solve_is_counted_apart(rule: Rule) -> None:
    checks.check_solve_cost(rule)


@rules
def test_cost_and_code_agree_on_the_chunk(rule: Rule) -> None:
    assert getattr(rule.cost, rule.constant) == rule.chunk


@rules
@pytest.mark.parametrize("broken", range(6))
def test_a_shape_that_does_not_fit_is_named(rule: Rule, broken: int) -> None:
    inputs = draw(rule, 2, 6)
    inputs[broken] = inputs[broken][..., :3]
    name = ("k", "k", "state", "log_decay", "beta", "state")[broken]
    with pytest.raises(ValueError, match=rf"{rule.name}: {name} must be"):
        rule.op(*inputs)


@pytest.mark.parametrize(
    ("rule", "benchmark"), [(GATED, GATED_BENCHMARK), (CHANNEL, CHANNEL_BENCHMARK)]
)
def test_the_smallest_case_of_the_benchmark_runs(rule: Rule, benchmark: Benchmark) -> None:
    case = benchmark.cases[0]
    torch.manual_seed(0)
    inputs = case.draw()
    found, expected = [], []
    for impl, results in ((Impl.CHUNKED, found), (Impl.REFERENCE, expected)):
        with use_impl(impl):
            results += benchmark.call(*inputs)
    assert all(error(a, b) < 1e-5 for a, b in zip(found, expected, strict=True))
    batch, heads, time, value = found[0].shape
    key = found[1].shape[2]
    assert case.flops == batch * heads * time * rule.cost.forward_flops_per_token(time, key, value)
    assert case.time == time
    assert benchmark.op == rule.name
    assert {1024, 4096, 16384, 32768} < {case.time for case in benchmark.cases}


@rules
def test_triton_on_the_cpu_is_refused(rule: Rule) -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=rf"{rule.name}.*'triton'"):
        rule.op(*(x.cpu() for x in draw(rule, 1, 2)))


@rules
def test_one_signature(rule: Rule) -> None:
    assert (
        getattr(rule.chunked, rule.name).__annotations__
        == getattr(rule.reference, rule.name).__annotations__
        == rule.op.__annotations__
    )


def test_triton_is_the_definition() -> None:
    check_triton(__file__)
