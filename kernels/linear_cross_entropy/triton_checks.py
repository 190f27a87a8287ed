"""The Triton kernels against the definition, on a GPU or else in Triton's interpreter.

The interpreter has to be on (TRITON_INTERPRET=1) before triton is imported, so the test beside this
file runs it in a process of its own; the suite does not collect it.
"""

from collections.abc import Callable

import pytest
import torch

from nas.kernels.linear_cross_entropy import checks, triton
from nas.kernels.linear_cross_entropy.api import linear_cross_entropy
from nas.kernels.linear_cross_entropy.tuning import CANDIDATES, key_of
from nas.kernels.runtime.checking import check_exact, with_gradients
from nas.kernels.runtime.impl import Impl
from nas.kernels.runtime.tuning import Table, use_tuning


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks and splits of everything, at sizes that the interpreter can do."""
    monkeypatch.setattr(triton, "_loss_blocks", lambda *_, **__: triton._LossBlocks(16, 16, 4, 1))
    monkeypatch.setattr(triton, "_SPAN", 32)
    monkeypatch.setattr(triton, "_LOSS_PROGRAMS", 6)
    monkeypatch.setattr(triton, "_MOST_SPLITS", 2)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are too long for one program."""
    monkeypatch.setattr(triton, "_WHOLE_BYTES", 32)


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize(("rows", "width", "vocab"), checks.SIZES)
def test_values(rows: tuple[int, ...], width: int, vocab: int, some: bool) -> None:
    checks.check_values(Impl.TRITON, rows, width, vocab, some, some)


@pytest.mark.usefixtures("cut")
def test_values_of_long_rows() -> None:
    checks.check_values(Impl.TRITON, (17,), 33, 18, True, True)


@pytest.mark.usefixtures("cut")
def test_long_rows_in_low_precision() -> None:
    checks.check_low_precision(Impl.TRITON, torch.bfloat16, False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision(dtype: torch.dtype, bias: bool) -> None:
    checks.check_low_precision(Impl.TRITON, dtype, bias)


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
def test_it_holds(check: Callable[[Impl], None]) -> None:
    check(Impl.TRITON)


def test_no_row_knows_how_many_others_there_are() -> None:
    """But for the mean over them, which is exact for a power of two."""
    x, weight, targets = checks.rounded(checks.draw((32,), 24, 40), torch.float32)
    _, dx, _ = with_gradients(Impl.TRITON, linear_cross_entropy, [x, weight, targets])
    for row in (0, 17):
        one = [x[row : row + 1], weight, targets[row : row + 1]]
        _, alone, _ = with_gradients(Impl.TRITON, linear_cross_entropy, one)
        assert torch.equal(alone[0] / 32, dx[row])


def test_no_rows_at_all() -> None:
    x, weight, targets, bias = checks.draw((0,), 5, 20, bias=True)
    results = with_gradients(Impl.TRITON, linear_cross_entropy, [x, weight, targets, bias])
    assert all(torch.equal(result, torch.zeros_like(result)) for result in results)


def test_every_candidate_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that a choice arrives: sizes of blocks are seen as they are asked for."""
    monkeypatch.undo()  # the small blocks of this file
    seen = []
    original = triton._loss_blocks

    def noted(*given, **named):  # type: ignore[no-untyped-def]
        seen.append(tuple(original(*given, **named)))
        return original(*given, **named)

    monkeypatch.setattr(triton, "_loss_blocks", noted)
    inputs = checks.draw((17,), 24, 40)
    for forward, backward in zip(*CANDIDATES.values(), strict=True):
        choices = {"forward": forward, "backward": backward}
        table = Table().with_choices("linear_cross_entropy", key_of(*inputs), choices)
        seen.clear()
        with use_tuning(table):
            check_exact(Impl.TRITON, linear_cross_entropy, inputs)
        assert set(seen) == {forward, backward}
