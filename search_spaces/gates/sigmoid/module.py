"""Sigmoid gate of attention (arXiv 2505.06708, 2306.12929)."""

from torch import Tensor, nn


class SigmoidFactors(nn.Module):
    """Factors between 0 and 1: [B, T, D] -> [B, T, heads, width], either of which may be 1.

    `bias` is where a learned bias starts; None is without.
    """

    def __init__(self, *, dim: int, heads: int, width: int, bias: float | None) -> None:
        super().__init__()
        self.heads = heads
        self.logits = nn.Linear(dim, heads * width, bias=bias is not None)
        if bias is not None:
            nn.init.constant_(self.logits.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x).sigmoid().unflatten(-1, (self.heads, -1))
