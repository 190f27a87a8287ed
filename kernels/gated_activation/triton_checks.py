"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

It has to be on (TRITON_INTERPRET=1) before triton is imported, so ``test_gated_activation.py``
runs this file in a process of its own; the suite does not collect it.
"""

from typing import get_args

import pytest
import torch

from nas.kernels.gated_activation.api import gated_activation
from nas.kernels.gated_activation.checks import OPS
from nas.kernels.gated_activation.names import ActivationName
from nas.kernels.runtime.checking import DEVICE
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.row_checks import ROW_CHECKS, RowCheck, RowOp


@pytest.mark.parametrize("check", ROW_CHECKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_triton(op: RowOp, check: RowCheck) -> None:
    check(Impl.TRITON, op)


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_nan_stays(name: ActivationName) -> None:
    one = torch.ones(1, 1, device=DEVICE)
    with use_impl(Impl.TRITON):
        assert gated_activation(one * torch.nan, one, name).isnan().all()
