"""Layer normalisation of a sum in plain torch.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor
from torch.nn import functional


def add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and ``weight * (h - mean(h)) / sqrt(variance(h) + eps) + bias`` over the
    last axis.

    x and residual [..., D], weight and bias [D]. Computed in float32, or float64 for float64; the
    norm has x's dtype and h the residual's. The norm reads h as it is rounded to that.
    """
    dtype = torch.promote_types(torch.promote_types(x.dtype, residual.dtype), torch.float32)
    total = (residual.to(dtype) + x.to(dtype)).to(residual.dtype)
    shift = None if bias is None else bias.to(dtype)
    y = functional.layer_norm(total.to(dtype), weight.shape, weight.to(dtype), shift, eps)
    return y.to(x.dtype), total
