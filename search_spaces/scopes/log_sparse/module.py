"""Exponentially spaced keys (arXiv 1907.00235). Shapes as all scopes have them."""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, softmax_where


class LogSparse(nn.Module):
    """A token sees the last `window` tokens and those 1, 2, 4, 8, ... before it.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. Only these keys are fetched.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        behind = torch.tensor(log_offsets(self.window, seen), device=q.device)
        rows = torch.arange(seen - new, seen, device=q.device)
        return softmax_of_fetched(q, k, v, rows[:, None] - behind)


class LogSparseBothWays(nn.Module):
    """A token sees those less than `window` away and those 1, 2, 4, 8, ... away on either side.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        time = q.shape[2]
        away = log_offsets(self.window, time)
        offsets = torch.tensor([*(-far for far in away[1:]), *away], device=q.device)
        return softmax_of_fetched(q, k, v, torch.arange(time, device=q.device)[:, None] - offsets)


def log_offsets(window: int, length: int) -> list[int]:
    """Distances below `length` that are below `window` or a power of two."""
    powers = (1 << exponent for exponent in range((length - 1).bit_length()))
    return sorted({*range(min(window, length)), *powers})


def softmax_of_fetched(q: Tensor, k: Tensor, v: Tensor, index: Tensor) -> Tensor:
    """Softmax attention of each query over its own few keys.

    index [T, N]: where these keys are; what is outside of the S keys held is left out.
    """
    seen, groups = k.shape[2], k.shape[1]
    real = (index >= 0) & (index < seen)
    at = index.clamp(0, seen - 1)
    q = q.unflatten(1, (groups, -1)).transpose(2, 3)  # [B, G, T, H / G, K]
    y = softmax_where(q, k[:, :, at], v[:, :, at], real[:, None])
    return y.transpose(2, 3).flatten(1, 2)


class LogUpToNow(nn.Module):
    """Which keys are visible: those near and those a power of two back.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return near_or_power_away(rows[:, None] - columns, self.window)


class LogBothWays(nn.Module):
    """Which keys are visible: those near and those a power of two away on either side.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return near_or_power_away((rows[:, None] - columns).abs(), self.window)


def near_or_power_away(away: Tensor, window: int) -> Tensor:
    """Whether distances are below `window` or a power of two; negative ones never are."""
    power = (away > 0) & (away & (away - 1) == 0)
    return (away >= 0) & ((away < window) | power)
