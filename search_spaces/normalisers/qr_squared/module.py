"""Doubly stochastic weights by QR decomposition (arXiv 2504.16275)."""

import torch
from torch import Tensor, nn


class QrSquared(nn.Module):
    """scores [B, H, T, T], visible [T, T] -> weights [B, H, T, T]: the squared entries of the
    orthogonal factor of one plus the scores."""

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        # there is no half precision QR
        matrix = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # scores alone have a rank of at most the head's width, where the factor has no gradient
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        orthogonal = torch.linalg.qr(one + matrix * visible).Q
        return (orthogonal.square() * visible).to(scores.dtype)
