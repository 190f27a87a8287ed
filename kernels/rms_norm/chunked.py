"""RMS normalisation in plain torch.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``y = weight * x / sqrt(mean(x^2) + eps)`` over the last axis: x [..., D], weight [D].

    Computed in float32, or float64 for float64; y has x's shape and dtype.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    return functional.rms_norm(x.to(dtype), weight.shape, weight.to(dtype), eps).to(x.dtype)
