"""Rotary positions by their definition, a product of complex numbers.

Shapes: B batch, H query heads, G key heads, T time, K head width, R rotary width.
"""

import torch
from torch import Tensor


def rotary(
    q: Tensor, k: Tensor, frequencies: Tensor, position: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Channels i and i + R/2 as one number, times ``exp(i p f_i)``; see ``api``."""
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.float32)
    if isinstance(position, int):
        position = torch.arange(position, position + q.shape[2], device=q.device)[None]
    angle = position.to(dtype)[:, None, :, None] * frequencies.detach().to(dtype)
    turn = torch.polar(torch.ones_like(angle), angle)  # [B, 1, T, R/2]
    half = frequencies.shape[0]
    turned = []
    for x in (q, k):
        left, right, rest = x.to(dtype).tensor_split((half, 2 * half), dim=-1)
        both = torch.complex(left, right) * turn
        turned.append(torch.cat((both.real, both.imag, rest), dim=-1).to(x.dtype))
    return turned[0], turned[1]
