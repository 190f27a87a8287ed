"""Attention: every form against the definition, in values, gradients and cost."""

import inspect
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.attention import chunked, cost, reference, triton
from nas.kernels.attention.api import NORMALISERS, attention, routed_attention, torch_serves
from nas.kernels.attention.bench import BENCHMARK, BENCHMARKS
from nas.kernels.attention.checks import (
    SCOPES,
    check_batch,
    check_biases,
    check_extremes,
    check_low_precision,
    check_no_queries,
    check_routed,
    check_routed_low_precision,
    check_routed_order,
    check_split,
    check_strides,
    check_values,
    check_widths,
    draw,
    options,
)
from nas.kernels.attention.routing import chosen_queries
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.search_spaces.normalisers.clipped_softmax.module import ClippedSoftmax
from nas.search_spaces.normalisers.sigmoid.module import SigmoidByCount
from nas.search_spaces.normalisers.softmax.module import Softmax
from nas.search_spaces.pieces.attend.module import Weighted
from nas.search_spaces.scopes.everything.module import AllTokens, UpToNow
from nas.search_spaces.scopes.streaming.module import NearOrSink, RecentOrSink
from nas.search_spaces.scopes.window.module import Near, Recent

EVERY_NORMALISER = pytest.mark.parametrize("normaliser", NORMALISERS)
EVERY_SCOPE = pytest.mark.parametrize("scope", SCOPES)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "ATTENTION_BLOCK", 16)
    monkeypatch.setattr(chunked, "ATTENTION_LEAST", 4)


@EVERY_NORMALISER
@EVERY_SCOPE
@pytest.mark.usefixtures("_small_blocks")
def test_chunked_is_the_definition(scope: str, normaliser: str) -> None:
    for time, keys in ((37, 50), (37, 37), (2, 40), (1, 33)):
        check_values(Impl.CHUNKED, scope, normaliser, time, keys)


def test_more_queries_than_keys_where_position_means_nothing() -> None:
    check_values(Impl.CHUNKED, "all", "clipped", 33, 5)


@EVERY_NORMALISER
@pytest.mark.parametrize("time", [1, 2, 127, 128, 129, 300])
def test_chunked_at_odd_lengths(time: int, normaliser: str) -> None:
    check_widths(Impl.CHUNKED, time, (8, 3), normaliser)


@DTYPES
@EVERY_NORMALISER
@EVERY_SCOPE
def test_chunked_in_low_precision(scope: str, normaliser: str, dtype: torch.dtype) -> None:
    check_low_precision(Impl.CHUNKED, dtype, scope, normaliser)


@EVERY_NORMALISER
@EVERY_SCOPE
def test_routed(scope: str, normaliser: str) -> None:
    check_routed(Impl.CHUNKED, scope, normaliser)


@DTYPES
def test_routed_in_low_precision(dtype: torch.dtype) -> None:
    check_routed_low_precision(Impl.CHUNKED, dtype)


@pytest.mark.usefixtures("_small_blocks")
def test_chunked_in_other_respects() -> None:
    check_biases(Impl.CHUNKED)
    check_batch(Impl.CHUNKED, "softmax")
    check_split(Impl.CHUNKED)
    check_strides(Impl.CHUNKED)
    check_extremes(Impl.CHUNKED)
    check_routed_order(Impl.CHUNKED)
    check_no_queries(Impl.CHUNKED)


@EVERY_NORMALISER
@EVERY_SCOPE
def test_the_definition_is_that_of_the_parts(scope: str, normaliser: str) -> None:
    """Scopes and normalisers of the search space give the same weights."""
    named = options(scope, normaliser)
    causal, window, sinks = named.get("causal", True), named.get("window"), named.get("sinks", 0)
    visible: torch.nn.Module
    if window is None:
        visible = UpToNow() if causal else AllTokens()
    elif sinks:
        visible = (RecentOrSink if causal else NearOrSink)(sinks=sinks, window=window)
    else:
        visible = (Recent if causal else Near)(window=window)
    weigh = {
        "softmax": Softmax(),
        "sigmoid": SigmoidByCount(),
        "clipped": ClippedSoftmax(alpha=named.get("alpha", 1.0), zeta=named.get("zeta", 1.0)),
    }[normaliser]
    q, k, v = draw(9, 40)
    part = Weighted(visible=visible, normaliser=weigh)(q, k, v, start=31)
    with use_impl(Impl.REFERENCE):
        torch.testing.assert_close(attention(q, k, v, **named), part, rtol=1e-12, atol=1e-12)


def test_triton_is_the_definition() -> None:
    check_triton(__file__)


@pytest.mark.parametrize(
    ("arch", "width", "scope", "normaliser", "routed"),
    [
        (80, 64, {"window": 512, "sinks": 4}, "sigmoid", False),
        (80, 64, {}, "clipped", True),
        (90, 64, {"window": 512, "sinks": 4}, "clipped", False),
        (90, 128, {}, "softmax", False),
    ],
)
def test_kernels_compile_for_a_gpu_and_do_not_spill(
    arch: int, width: int, scope: dict[str, Any], normaliser: str, routed: bool
) -> None:
    def run() -> None:
        q, k, v = (
            torch.empty(1, 2, 4096, width, dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        )
        named = {"normaliser": normaliser, **scope}
        if routed:
            queries = torch.empty(1, 2, 1024, dtype=torch.int64)
            o = triton.routed_attention(q, k, v, queries, **named)
        else:
            o = triton.attention(q, k, v, **named)
        o.backward(torch.empty_like(o))

    kernels = compiled(run, arch)
    names = {"attend_forward", "attend_backward_queries", "attend_backward_keys"}
    assert {kernel.kernel for kernel in kernels} == names
    assert [kernel for kernel in kernels if not kernel.fits or kernel.spilled_bytes] == []


@EVERY_NORMALISER
@pytest.mark.parametrize("window", [None, 64, 200])
def test_cost_is_what_a_counter_sees(window: int | None, normaliser: str) -> None:
    for causal, time, keys in ((True, 300, 300), (False, 300, 300), (True, 70, 190), (True, 1, 60)):
        sinks = 0 if window is None else 10
        named: dict[str, Any] = {"normaliser": normaliser, "causal": causal, "window": window}
        q, k, v = draw(time, keys, heads=2, groups=2)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            chunked.attention(q, k, v, sinks=sinks, **named)
        found = counter.get_total_flops()
        assert found == 2 * cost.forward_flops(time, 5, 7, keys=keys, sinks=sinks, **named)
        if time == 1:
            assert found == 2 * cost.step_flops(keys, 5, 7)


def test_cost_of_routed_heads_is_that_of_their_queries() -> None:
    q, k, v = draw(40, 40, heads=2)
    queries = chosen_queries(torch.arange(80).view(1, 2, 40) % 4 == 0, most=12)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        chunked.routed_attention(q, k, v, queries)
    assert counter.get_total_flops() == 2 * cost.routed_flops(12, 40, 5, 7)


def test_cost_and_code_agree_on_the_blocks() -> None:
    assert cost.ATTENTION_BLOCK == chunked.ATTENTION_BLOCK
    assert cost.ATTENTION_LEAST == chunked.ATTENTION_LEAST


def test_cost_per_token_is_rounded_up() -> None:
    whole = cost.forward_flops(100, 8, 8, window=40)
    per_token = cost.forward_flops_per_token(100, 8, 8, window=40)
    assert 0 <= 100 * per_token - whole < 100


@EVERY_SCOPE
def test_visible_pairs_are_those_of_the_definition(scope: str) -> None:
    named = SCOPES[scope]
    q, k = torch.zeros(1, 1, 40, 1), torch.zeros(1, 1, 40, 1)
    with use_impl(Impl.REFERENCE):  # with scores of 0 and a bias of 0 each weight is a half
        o = attention(q, k, torch.ones_like(k), 0.0, normaliser="sigmoid", **named)
    assert cost.visible_flops(40, 1, 1, **named) == 4 * round(2 * float(o.sum()))


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda x: x.op)
def test_the_smallest_case_of_the_benchmark(benchmark: Any) -> None:
    case = benchmark.cases[0]
    inputs = case.draw()
    with use_impl(Impl.REFERENCE):
        slow = benchmark.call(*inputs)
    torch.testing.assert_close(benchmark.call(*inputs), slow)
    for name, peer in benchmark.peers().items():
        if "compiled" not in name and "Flex" not in name:  # these take long to compile
            torch.testing.assert_close(peer(*inputs), slow)


def test_the_benchmark_counts_what_has_to_be_done() -> None:
    assert BENCHMARK is BENCHMARKS[0]
    pairs = 64 * 65 // 2
    for benchmark, heads in zip(BENCHMARKS, (16, 16, 16, 4), strict=True):
        assert benchmark.cases[0].flops == heads * pairs * 4 * 64
        assert benchmark.cases[0].flops == heads * cost.visible_flops(64, 64, 64)


def test_chosen_queries_come_in_order() -> None:
    mask = torch.tensor([[[False, True, True, False], [False] * 4, [True] * 4]])
    wanted = [[1, 2, -1, -1], [-1] * 4, [0, 1, 2, 3]]
    assert chosen_queries(mask).tolist() == [wanted]
    assert chosen_queries(mask, most=2).tolist() == [[row[:2] for row in wanted]]


def test_where_torch_serves_there_is_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    def spy(
        q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **rest: Any
    ) -> Tensor:
        hides = attn_mask is not None and not bool(attn_mask.all())
        masks.append(hides)
        return q

    monkeypatch.setattr(chunked, "scaled_dot_product_attention", spy)
    for causal, time, keys, start, window in (
        (True, 20, 20, None, None),
        (True, 20, 30, None, None),
        (True, 1, 30, None, None),
        (True, 1, 30, 7, None),
        (False, 9, 4, None, None),
        (True, 20, 20, None, 6),
        (False, 20, 20, None, 6),
        (False, 20, 20, None, 20),
    ):
        named: dict[str, Any] = {"causal": causal, "start": start, "window": window}
        q, k, v = draw(time, keys, heads=1, widths=(4, 4))
        masks.clear()
        chunked.attention(q, k, v, **named)
        assert torch_serves(time=time, keys=keys, **named) is not any(masks)
    for normaliser in ("sigmoid", "clipped"):
        assert not torch_serves(time=20, keys=20, normaliser=normaliser)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"normaliser": "tanh"}, "normaliser must be one of"),
        ({"bias": 0.5}, "only the normaliser 'sigmoid'"),
        ({"bias": torch.zeros(2), "normaliser": "sigmoid"}, "bias must be one number"),
        ({"window": 0}, "window >= 1"),
        ({"sinks": -1}, "sinks >= 0"),
        ({"alpha": -0.5}, "alpha >= 0"),
        ({"zeta": 0.5}, "zeta >= 1"),
        ({"start": 1}, "do not all stand"),
        ({"start": -1}, "do not all stand"),
        ({"q": torch.zeros(1, 3, 6, 5)}, "2 key heads do not divide 3"),
        ({"q": torch.zeros(1, 2, 7, 5)}, "do not all stand"),
        ({"q": torch.zeros(1, 2, 0, 5)}, "T >= 1"),
        ({"k": torch.zeros(1, 2, 6, 4)}, "k must be"),
        ({"v": torch.zeros(2, 2, 6, 4)}, "v must be"),
        ({"v": torch.zeros(1, 2, 0, 4)}, "S >= 1"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], message: str) -> None:
    q, k, v = (torch.zeros(1, 2, 6, 5) for _ in range(3))
    with pytest.raises(ValueError, match=message):
        attention(**{"q": q, "k": k, "v": v, **wrong})


@pytest.mark.parametrize(
    "queries",
    [torch.zeros(1, 2), torch.zeros(1, 2, 3), torch.zeros(1, 1, 3, dtype=torch.int64)],
)
def test_lists_of_queries_that_do_not_fit_are_named(queries: Tensor) -> None:
    q, k, v = (torch.zeros(1, 2, 6, 5) for _ in range(3))
    with pytest.raises(ValueError, match="routed_attention: queries must be"):
        routed_attention(q, k, v, queries)


def test_triton_on_the_cpu_is_refused() -> None:
    x = torch.zeros(1, 1, 2, 4)
    queries = torch.zeros(1, 1, 1, dtype=torch.int64)
    for call in (partial(attention, x, x, x), partial(routed_attention, x, x, x, queries)):
        with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"attention.*'triton'"):
            call()


def test_one_signature() -> None:
    for name, wanted in (("attention", attention), ("routed_attention", routed_attention)):
        for module in (reference, chunked, triton):
            assert inspect.signature(getattr(module, name)) == inspect.signature(wanted)
