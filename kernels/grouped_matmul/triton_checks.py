"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_grouped_matmul.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.grouped_matmul import checks
from nas.kernels.grouped_matmul.api import grouped_matmul
from nas.kernels.runtime.checking import check_exact
from nas.kernels.runtime.impl import Impl

MODULE = "nas.kernels.grouped_matmul.triton"


@pytest.mark.parametrize(("sizes", "inputs", "outputs"), checks.SIZES)
def test_triton_is_the_definition(sizes: tuple[int, ...], inputs: int, outputs: int) -> None:
    checks.check_values(Impl.TRITON, sizes, inputs, outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.TRITON, dtype)


@pytest.mark.parametrize("check", checks.CHECKS)
def test_triton_holds_to(check: checks.Check) -> None:
    check(Impl.TRITON)


def test_high_tiles_and_partial_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """What many rows bring about, at sizes that the interpreter manages."""
    monkeypatch.setattr(f"{MODULE}._MANY_ROWS", 1)
    monkeypatch.setattr(f"{MODULE}._STRETCH", 8)
    for sizes in ((150, 0, 40), (1, 2, 30)):
        check_exact(Impl.TRITON, grouped_matmul, checks.draw(sizes, 20, 24))
    checks.check_low_precision(Impl.TRITON, torch.bfloat16)


def test_the_height_of_tiles_does_not_change_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = checks.draw((5, 90), 80, 24, torch.float32)
    low = checks.product(Impl.TRITON, *inputs)
    monkeypatch.setattr(f"{MODULE}._MANY_ROWS", 1)
    assert torch.equal(checks.product(Impl.TRITON, *inputs), low)


def test_sizes_that_ask_for_too_many_rows_stay_inside() -> None:
    """The sum of the sizes is not checked, but no program reads or writes past the end."""
    x, weight, sizes = checks.draw((3, 4), 6, 5)
    y = checks.product(Impl.TRITON, x, weight, sizes * 100)
    assert y.shape == (7, 5)
