"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

It has to be on (TRITON_INTERPRET=1) before triton is imported, so ``test_poly_norm.py``
runs this file in a process of its own; the suite does not collect it.
"""

import pytest

from nas.kernels.poly_norm.checks import OPS
from nas.kernels.runtime import rows
from nas.kernels.runtime.impl import Impl
from nas.kernels.runtime.row_checks import LONG_CHECKS, ROW_CHECKS, RowCheck, RowOp


@pytest.mark.parametrize("check", ROW_CHECKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_triton(op: RowOp, check: RowCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "TILE", 64)
    monkeypatch.setattr(rows, "PROGRAMS", 2)  # several tiles for each
    check(Impl.TRITON, op)


@pytest.mark.parametrize("check", LONG_CHECKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_triton_with_long_rows(op: RowOp, check: RowCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST", 4)
    monkeypatch.setattr(rows, "BLOCK", 16)
    monkeypatch.setattr(rows, "PROGRAMS", 2)
    check(Impl.TRITON, op)
