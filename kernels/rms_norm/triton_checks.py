"""The Triton kernels against the definition, in Triton's interpreter.

It has to be on (TRITON_INTERPRET=1) before triton is imported, so ``test_rms_norm.py`` runs this
file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.rms_norm.checks import SHAPES, check_low_precision, check_values
from nas.kernels.runtime.impl import Impl


@pytest.mark.parametrize("shape", SHAPES)
def test_triton_is_the_definition(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.rms_norm.triton._PROGRAMS", 4)  # several rows for each
    check_values(Impl.TRITON, shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_in_low_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.rms_norm.triton._PROGRAMS", 4)  # several rows for each
    check_low_precision(Impl.TRITON, dtype)
