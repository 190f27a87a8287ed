"""RMS normalisation of a sum as the checks of row-wise ops take it."""

import torch
from torch import Tensor

from nas.kernels.add_rms_norm.api import add_rms_norm
from nas.kernels.rms_norm.api import rms_norm
from nas.kernels.runtime.checking import poisoned
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.row_checks import RowOp

EPS = 1e-5


def _call(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm(x, residual, weight, EPS)


OPS = {"": RowOp(_call, rowwise=2, parameters=lambda width: [(width,)])}


def check_two_steps(impl: Impl) -> None:
    """It is the sum and then the norm, bit for bit."""
    for dtype in (torch.float32, torch.bfloat16):
        x, residual, weight = (x.to(dtype) for x in OPS[""].draw(4, 24))
        with use_impl(impl), poisoned():
            y, total = add_rms_norm(x, residual, weight, EPS)
            assert torch.equal(y, rms_norm(total, weight, EPS))
        # Triton's interpreter cuts off to bfloat16 where a GPU and torch round.
        assert dtype == torch.bfloat16 or torch.equal(total, residual + x)
