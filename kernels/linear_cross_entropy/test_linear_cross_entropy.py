"""Linear cross-entropy: plain torch and Triton against the definition and torch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.linear_cross_entropy import checks, chunked, cost, reference
from nas.kernels.linear_cross_entropy import triton as kernels
from nas.kernels.linear_cross_entropy.api import linear_cross_entropy
from nas.kernels.linear_cross_entropy.bench import BENCHMARK
from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl


@pytest.fixture(params=["blocks", "whole"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of rows, the last of them not full; and what a small vocabulary takes."""
    if request.param == "whole":
        return
    monkeypatch.setattr(chunked, "LINEAR_CROSS_ENTROPY_VOCAB", 0)
    monkeypatch.setattr(chunked, "LINEAR_CROSS_ENTROPY_LOGITS", 1)
    monkeypatch.setattr(chunked, "LINEAR_CROSS_ENTROPY_ROWS", 7)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("rows", "width", "vocab"), checks.SIZES)
def test_torch_is_the_definition(
    rows: tuple[int, ...], width: int, vocab: int, bias: bool, some: bool
) -> None:
    checks.check_values(Impl.CHUNKED, rows, width, vocab, bias, some)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_torch_in_low_precision(dtype: torch.dtype, bias: bool) -> None:
    checks.check_low_precision(Impl.CHUNKED, dtype, bias)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    "check",
    [
        checks.check_autocast,
        checks.check_no_target,
        checks.check_ignored_rows,
        checks.check_large_logits,
        checks.check_strides,
        checks.check_repeats,
        checks.check_frozen,
    ],
)
def test_torch_holds(check: Callable[[Impl], None]) -> None:
    check(Impl.CHUNKED)


@pytest.mark.parametrize(("rows", "vocab", "whole"), [(9, 512, 1), (9, 513, 0), (8193, 512, 0)])
def test_only_few_logits_of_a_small_vocabulary_are_held_whole(
    rows: int, vocab: int, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = chunked.linear_cross_entropy_whole, []
    monkeypatch.setattr(
        chunked, "linear_cross_entropy_whole", lambda *x: calls.append(0) or original(*x)
    )
    x, weight, targets = checks.draw((rows,), 2, vocab)
    loss = linear_cross_entropy(x, weight, targets)
    assert len(calls) == whole
    torch.testing.assert_close(loss, original(x, weight, targets, None))


def test_the_definition_is_that_of_torch() -> None:
    x, weight, targets, bias = checks.draw((3, 7), 5, 11, bias=True, some=True)
    with use_impl(Impl.REFERENCE):
        loss = linear_cross_entropy(x, weight, targets, bias)
    logits = F.linear(x, weight, bias).flatten(0, 1)
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets.flatten()))


class Largest(TorchDispatchMode):
    """Notes how many values the largest tensor holds that any operator makes."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.values = max(self.values, made.numel())
        return made


def test_the_logits_are_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "LINEAR_CROSS_ENTROPY_LOGITS", 3000)
    monkeypatch.setattr(chunked, "LINEAR_CROSS_ENTROPY_ROWS", 2)
    x, weight, targets = checks.draw((100,), 3, 1000)
    with Largest() as largest:
        linear_cross_entropy(x.requires_grad_(), weight.requires_grad_(), targets).backward()
    assert largest.values == 3000


@pytest.mark.usefixtures("form")
def test_cost_is_what_a_counter_sees() -> None:
    x, weight, targets = checks.draw((34,), 24, 40, some=True)
    counted = int((targets != -100).sum())
    with FlopCounterMode(display=False) as alone:
        linear_cross_entropy(x, weight, targets)
    with FlopCounterMode(display=False) as training:
        linear_cross_entropy(x.requires_grad_(), weight.requires_grad_(), targets).backward()
    assert alone.get_total_flops() == counted * cost.forward_flops_per_token(24, 40)
    assert training.get_total_flops() == counted * cost.training_flops_per_token(24, 40)


@pytest.mark.parametrize(
    ("broken", "name"), [(0, "weight"), (1, "weight"), (2, "targets"), (3, "bias")]
)
def test_a_shape_that_does_not_fit_is_named(broken: int, name: str) -> None:
    inputs = checks.draw((2, 5), 6, 7, bias=True)
    inputs[broken] = inputs[broken][..., :3]
    with pytest.raises(ValueError, match=f"linear_cross_entropy: {name} must be"):
        linear_cross_entropy(*inputs)


def test_a_vocabulary_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="V >= 1"):
        linear_cross_entropy(torch.ones(2, 3), torch.ones(0, 3), torch.full((2,), -100))


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    x, weight, targets = checks.draw((4,), 3, 5)
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        linear_cross_entropy(x, weight, targets + 5)


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"linear_cross_entropy.*'triton'"):
        linear_cross_entropy(*checks.draw((2,), 3, 4))


def test_one_signature() -> None:
    forms = (chunked, reference, kernels)
    wanted = linear_cross_entropy.__annotations__
    for form in forms:
        found = dict(form.linear_cross_entropy.__annotations__)
        found.pop("choices", None)  # of the Triton form, handed on by the choice of implementation
        assert found == wanted


def test_triton_is_the_definition() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("width", [64, 128])
def test_triton_compiles_without_spills(width: int, arch: int) -> None:
    def run() -> None:
        x = torch.empty(4096, width, dtype=torch.bfloat16, requires_grad=True)
        weight = torch.empty(8192, width, dtype=torch.bfloat16, requires_grad=True)
        targets = torch.zeros(4096, dtype=torch.int64)
        kernels.linear_cross_entropy(x, weight, targets).backward()

    found = compiled(run, arch)
    assert {kernel.kernel for kernel in found} == {"_log_sums", "_slopes_of_x", "_slopes_of_weight"}
    assert [kernel for kernel in found if not kernel.fits or kernel.spilled_bytes] == []


def test_the_benchmark_runs() -> None:
    case = BENCHMARK.cases[0]
    x, weight, targets = (tensor for tensor in case.draw() if tensor is not None)
    with FlopCounterMode(display=False) as counter:
        loss = BENCHMARK.call(x, weight, targets)
    assert counter.get_total_flops() == case.flops
    for peer in BENCHMARK.peers().values():
        torch.testing.assert_close(peer(x, weight, targets), loss)
