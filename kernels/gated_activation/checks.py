"""Gated activations as the checks of row-wise ops take them."""

from functools import partial
from typing import get_args

from nas.kernels.gated_activation.api import gated_activation
from nas.kernels.gated_activation.names import ActivationName
from nas.kernels.runtime.row_checks import RowOp

OPS = {
    name: RowOp(partial(gated_activation, activation=name), rowwise=2)
    for name in get_args(ActivationName)
}
