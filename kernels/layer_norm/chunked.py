"""Layer normalisation in plain torch.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor
from torch.nn import functional


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """``y = weight * (x - mean(x)) / sqrt(variance(x) + eps) + bias`` over the last axis.

    x [..., D]; weight and bias [D]. Computed in float32, or float64 for float64; y has x's shape
    and dtype.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    shift = None if bias is None else bias.to(dtype)
    return functional.layer_norm(x.to(dtype), weight.shape, weight.to(dtype), shift, eps).to(
        x.dtype
    )
