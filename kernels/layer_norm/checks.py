"""Layer normalisation as the checks of row-wise ops take it."""

from torch import Tensor

from nas.kernels.layer_norm.api import layer_norm
from nas.kernels.runtime.row_checks import RowOp

EPS = 1e-5


def _call(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return layer_norm(x, weight, bias, EPS)


OPS = {
    "bias": RowOp(_call, rowwise=1, parameters=lambda width: [(width,), (width,)]),
    "no bias": RowOp(_call, rowwise=1, parameters=lambda width: [(width,)]),
}
