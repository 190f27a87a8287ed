"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_top_k.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.runtime.checking import DEVICE
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.top_k import checks
from nas.kernels.top_k.api import top_k

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize(("shape", "k"), checks.SIZES)
def test_triton_is_the_definition(shape: tuple[int, ...], k: int) -> None:
    checks.check_values(Impl.TRITON, shape, k)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_triton_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.TRITON, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_triton_with_equal_and_infinite_scores(dtype: torch.dtype) -> None:
    checks.check_ties(Impl.TRITON, dtype)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_gradient_of_ties,
        checks.check_layouts,
        checks.check_row_alone,
        checks.check_no_rows,
    ],
)
def test_triton_holds_to(check: checks.Check) -> None:
    check(Impl.TRITON)


def test_rows_too_long_for_triton_are_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match="at most 8192"):
        top_k(torch.zeros(1, 8193, device=DEVICE), 1)
