"""Layer normalisation of a sum as the checks of row-wise ops take it."""

import torch
from torch import Tensor

from nas.kernels.add_layer_norm.api import add_layer_norm
from nas.kernels.layer_norm.api import layer_norm
from nas.kernels.runtime.checking import poisoned
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.row_checks import RowOp

EPS = 1e-5


def _call(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    return add_layer_norm(x, residual, weight, bias, EPS)


OPS = {
    "bias": RowOp(_call, rowwise=2, parameters=lambda width: [(width,), (width,)]),
    "no bias": RowOp(_call, rowwise=2, parameters=lambda width: [(width,)]),
}


def check_two_steps(impl: Impl) -> None:
    """It is the sum and then the norm, bit for bit."""
    for dtype in (torch.float32, torch.bfloat16):
        x, residual, weight, bias = (x.to(dtype) for x in OPS["bias"].draw(4, 24))
        with use_impl(impl), poisoned():
            y, total = add_layer_norm(x, residual, weight, bias, EPS)
            assert torch.equal(y, layer_norm(total, weight, bias, EPS))
        # Triton's interpreter cuts off to bfloat16 where a GPU and torch round.
        assert dtype == torch.bfloat16 or torch.equal(total, residual + x)
