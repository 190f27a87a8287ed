"""Strided attention (arXiv 1904.10509): which keys are visible."""

from torch import Tensor, nn


class StridedUpToNow(nn.Module):
    """The last `stride` tokens and every `stride`-th before. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        behind = rows[:, None] - columns
        return (behind >= 0) & ((behind < self.stride) | (behind % self.stride == 0))


class StridedBothWays(nn.Module):
    """Those less than `stride` away and every `stride`-th. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        away = (rows[:, None] - columns).abs()
        return (away < self.stride) | (away % self.stride == 0)
