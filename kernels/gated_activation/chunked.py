"""Gated activations in plain torch.

Shapes: any, the same for all.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def gated_activation(
    gate: Tensor,
    up: Tensor,
    activation: Literal["silu", "gelu", "gelu_tanh", "relu", "sigmoid"],
) -> Tensor:
    """``activation(gate) * up``, computed in float32, or float64 for float64."""
    narrow = torch.promote_types(gate.dtype, up.dtype)
    dtype = torch.promote_types(narrow, torch.float32)
    wide = gate.to(dtype)
    if activation == "gelu":
        active = functional.gelu(wide)
    elif activation == "gelu_tanh":
        active = functional.gelu(wide, approximate="tanh")
    elif activation == "silu":
        active = functional.silu(wide)
    else:
        active = wide.relu() if activation == "relu" else wide.sigmoid()
    return (active * up.to(dtype)).to(narrow)
