"""Gated activations: checks shapes and picks the implementation.

Shapes: any, the same for all.
"""

from typing import get_args

from torch import Tensor

from nas.kernels.gated_activation import chunked, reference
from nas.kernels.gated_activation.names import ActivationName
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "gated_activation"
_IMPLS = {
    Impl.REFERENCE: reference.gated_activation,
    Impl.CHUNKED: chunked.gated_activation,
    Impl.TRITON: triton_form(_OP),
}


def gated_activation(gate: Tensor, up: Tensor, activation: ActivationName) -> Tensor:
    """``activation(gate) * up``, element by element (arXiv 2002.05202).

    Args:
        gate: [..., D].
        up: [..., D].
        activation: ``silu`` (SwiGLU), ``gelu`` with erf or ``gelu_tanh`` with its approximation
            (GEGLU), ``relu`` (ReGLU) or ``sigmoid`` (GLU).

    Returns:
        y [..., D] in the dtype that holds both; computed in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit, or there is no such activation.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "up", up.shape, "[..., D]", gate.shape)
    if activation not in get_args(ActivationName):
        names = ", ".join(get_args(ActivationName))
        raise ValueError(f"{_OP}: activation must be one of {names} but is {activation!r}")
    return pick(_OP, _IMPLS)(gate, up, activation)
