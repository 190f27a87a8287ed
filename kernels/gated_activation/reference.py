"""Gated activations by their definitions.

Shapes: any, the same for all.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nas.kernels.gated_activation.names import ActivationName

ACTIVATIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: (
        x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
    ),
    "relu": lambda x: x * (x > 0),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


def gated_activation(gate: Tensor, up: Tensor, activation: ActivationName) -> Tensor:
    """``activation(gate) * up``; see ``api``."""
    narrow = torch.promote_types(gate.dtype, up.dtype)
    dtype = torch.promote_types(narrow, torch.float32)
    return (ACTIVATIONS[activation](gate.to(dtype)) * up.to(dtype)).to(narrow)
