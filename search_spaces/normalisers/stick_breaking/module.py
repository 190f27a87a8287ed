"""Stick-breaking attention weights (arXiv 2306.04640)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StickBreaking(nn.Module):
    """scores [B, H, T, S], visible [T, S] -> weights [B, H, T, S]; a row sums to one at most."""

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        logits = scores.to(torch.promote_types(scores.dtype, torch.float32))
        rest = F.logsigmoid(-logits).masked_fill(~visible, 0.0)  # log of what a key leaves over
        # what the keys after s leave over; summed from the near end, where weights are large
        after = F.pad(rest[..., 1:].flip(-1).cumsum(-1).flip(-1), (0, 1))
        return ((F.logsigmoid(logits) + after).exp() * visible).to(scores.dtype)
