"""PolyNorm by its definition.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def poly_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``y = a_1 norm(x) + a_2 norm(x^2) + a_3 norm(x^3) + b``; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide, y = x.to(dtype), bias.to(dtype)
    for degree, factor in enumerate(weight.to(dtype), start=1):
        power = torch.stack([wide] * degree).prod(dim=0)
        mean_square = (power * power).sum(dim=-1, keepdim=True) / x.shape[-1]
        y = y + factor * (power / torch.sqrt(mean_square + eps))
    return y.to(x.dtype)
