"""Power-softmax: an even power instead of the exponential (arXiv 2410.09457)."""

import torch
from torch import Tensor, nn


class PowerWeights(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]; rows sum to one."""

    def __init__(self, *, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        dtype = torch.promote_types(scores.dtype, torch.float32)
        seen = scores.to(dtype) * visible
        # dividing by the largest keeps powers in range and changes no weight
        largest = seen.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        powers = (seen / largest) ** self.power
        return (powers / powers.sum(-1, keepdim=True).clamp_min(1e-6)).to(scores.dtype)
