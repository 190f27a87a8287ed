"""Linear cross-entropy by its definition, with all logits in memory.

Shapes: D width, V vocabulary; any number of axes before them.
"""

import torch
from torch import Tensor


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Mean of ``-log softmax(x weight^T + bias)[target]``; see ``api``."""
    common = torch.promote_types(x.dtype, weight.dtype)
    logits = x.to(common) @ weight.to(common).T  # autocast chooses the type of this product
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if bias is not None:
        logits = logits + bias
    log_probabilities = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    counts = targets != -100
    index = torch.where(counts, targets, 0).unsqueeze(-1)
    losses = -log_probabilities.gather(-1, index).squeeze(-1)
    return torch.where(counts, losses, 0).sum() / counts.sum().clamp(min=1)
