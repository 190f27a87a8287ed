"""Dilated windows (arXiv 2004.05150). Shapes as all scopes have them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, positions, softmax_where


class Dilated(nn.Module):
    """A token sees itself and `window` - 1 tokens before it, each `stride` apart.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. Tokens that are a multiple of `stride`
    apart form a sequence of their own, in which `near` is a plain window.
    """

    def __init__(self, *, window: int, stride: int, near: nn.Module) -> None:
        super().__init__()
        self.window = window
        self.stride = stride
        self.near = near
        self.visible = DilatedRecent(window=window, stride=stride)

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache((self.window - 1) * self.stride + 1)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        if new == seen:
            return phase_by_phase(q, k, v, self.stride, self.near)
        if new == 1:
            first = (seen - 1) % self.stride  # so that the last one taken is the newest
            return softmax_where(q, k[:, :, first :: self.stride], v[:, :, first :: self.stride])
        return softmax_where(q, k, v, self.visible(*positions(q, k, start)))


class CentredDilated(nn.Module):
    """A token sees `window` tokens on each side, itself counted on both, each `stride` apart.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, stride: int, near: nn.Module) -> None:
        super().__init__()
        self.stride = stride
        self.near = near

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        return phase_by_phase(q, k, v, self.stride, self.near)


def phase_by_phase(q: Tensor, k: Tensor, v: Tensor, stride: int, near: nn.Module) -> Tensor:
    """Runs `near` over each of the `stride` sequences of every stride-th token."""
    time = q.shape[2]
    rounds = -(-time // stride)
    longer = time - (rounds - 1) * stride  # this many of them have a token in the last round
    fill = rounds * stride - time
    split = (F.pad(x, (0, 0, 0, fill)).unflatten(2, (rounds, stride)) for x in (q, k, v))
    q, k, v = (x.movedim(3, 1) for x in split)  # [B, stride, H, rounds, K]
    y = near_of_each(near, q[:, :longer], k[:, :longer], v[:, :longer])
    if fill and rounds > 1:
        short = (x[:, longer:, :, :-1] for x in (q, k, v))
        y = torch.cat((y, F.pad(near_of_each(near, *short), (0, 0, 0, 1))), dim=1)
    return y.movedim(1, 3).flatten(2, 3)[:, :, :time]


def near_of_each(near: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`near` with two leading dimensions."""
    y: Tensor = near(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
    return y.unflatten(0, q.shape[:2])


class DilatedRecent(nn.Module):
    """Which keys are visible: the query's and `window` - 1 before it, `stride` apart.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, window: int, stride: int) -> None:
        super().__init__()
        self.span = window * stride
        self.stride = stride

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        behind = rows[:, None] - columns
        return (behind >= 0) & (behind < self.span) & (behind % self.stride == 0)


class DilatedNear(nn.Module):
    """Which keys are visible: `window` on each side, `stride` apart.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, window: int, stride: int) -> None:
        super().__init__()
        self.span = window * stride
        self.stride = stride

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        away = (rows[:, None] - columns).abs()
        return (away < self.span) & (away % self.stride == 0)
