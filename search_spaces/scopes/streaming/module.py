"""Sinks and a sliding window (arXiv 2309.17453). Shapes as all scopes have them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, repeat_heads, softmax_where


class SinkCache:
    """Keys and values of the first `sinks` tokens and of the last `window`."""

    def __init__(self, sinks: int, window: int) -> None:
        self.sinks = sinks
        self.length = 0  # tokens seen
        self.first = KeyValueCache()
        self.recent = KeyValueCache(window)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Takes [B, G, T, K], returns what the new tokens see, the sinks first: [B, G, S, K]."""
        new = keys.shape[2]
        early = min(new, max(0, self.sinks - self.length))  # new tokens that are sinks
        self.length += new
        first = self.first.append(keys[:, :, :early], values[:, :, :early])
        if early == new and self.length <= self.sinks:
            return first
        recent = self.recent.append(keys[:, :, early:], values[:, :, early:])
        return torch.cat((first[0], recent[0]), dim=2), torch.cat((first[1], recent[1]), dim=2)

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return self.first.values_held() + self.recent.values_held()


class SinkWindow(nn.Module):
    """A token sees the first `sinks` tokens and the last `window`, itself included.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K], where S leaves out the tokens between.
    """

    def __init__(self, *, sinks: int, window: int) -> None:
        super().__init__()
        self.sinks = sinks
        self.window = window
        self.visible = RecentOrSink(sinks=sinks, window=window)

    def empty_cache(self) -> SinkCache:
        """Keys and values that decoding keeps."""
        return SinkCache(self.sinks, self.window)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new = q.shape[2]
        if new == 1:
            return softmax_where(q, k, v)  # no more than what it sees is held
        if start == 0 and new > self.sinks + 2 * self.window:
            return in_blocks_with_sinks(q, k, v, self.sinks, self.window, after=0)
        return softmax_where(q, k, v, self.visible(*sink_positions(q, k, self.sinks, start)))


class CentredSinkWindow(nn.Module):
    """A token sees the first `sinks` tokens and `window` on each side, itself counted on both.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, sinks: int, window: int) -> None:
        super().__init__()
        self.sinks = sinks
        self.window = window
        self.visible = NearOrSink(sinks=sinks, window=window)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        if q.shape[2] > self.sinks + 3 * self.window:
            return in_blocks_with_sinks(q, k, v, self.sinks, self.window, after=1)
        return softmax_where(q, k, v, self.visible(*sink_positions(q, k, self.sinks, start)))


def sink_positions(q: Tensor, k: Tensor, sinks: int, start: int) -> tuple[Tensor, Tensor]:
    """Of the queries [T] and of the keys [S]: the sinks, then those that end at the last query."""
    end = start + q.shape[2]
    columns = torch.arange(k.shape[2], device=q.device)
    skipped = end - k.shape[2]  # tokens between the sinks and the others that are held
    rows = torch.arange(start, end, device=q.device)
    return rows, torch.where(columns < sinks, columns, columns + skipped)


def in_blocks_with_sinks(
    q: Tensor, k: Tensor, v: Tensor, sinks: int, window: int, after: int
) -> Tensor:
    """Blocks of a window against the sinks, themselves, the block before and `after` (0 or 1)
    blocks after. There are more tokens than sinks."""
    batch, _, time, _ = q.shape
    blocks = -(-time // window)
    fill = blocks * window - time
    end = fill + after * window
    span = (2 + after) * window  # keys around a block
    q = F.pad(q, (0, 0, 0, fill)).unflatten(2, (blocks, window))  # [B, H, N, W, K]
    near_k = F.pad(k, (0, 0, window, end)).unfold(2, span, window).mT
    near_v = F.pad(v, (0, 0, window, end)).unfold(2, span, window).mT
    sink_k = k[:, :, None, :sinks].expand(-1, -1, blocks, -1, -1)
    sink_v = v[:, :, None, :sinks].expand(-1, -1, blocks, -1, -1)
    k, v = torch.cat((sink_k, near_k), dim=3), torch.cat((sink_v, near_v), dim=3)
    first = window * torch.arange(blocks, device=q.device)[:, None]
    row = (first + torch.arange(window, device=q.device))[:, :, None]  # [N, W, 1]
    column = (first - window + torch.arange(span, device=q.device))[:, None]  # [N, 1, span]
    near = (column > row - window) & (column < row + after * window + (1 - after))
    near = near & (column >= sinks) & (column < time)  # sinks are not counted twice
    sink = torch.arange(sinks, device=q.device).expand(blocks, 1, -1)
    seen = (sink <= row) | (after == 1)  # [N, W, sinks]
    mask = torch.cat((seen, near), dim=2)
    y = softmax_where(
        q.transpose(1, 2).flatten(0, 1),  # [B * N, H, W, K]
        k.transpose(1, 2).flatten(0, 1),
        v.transpose(1, 2).flatten(0, 1),
        mask.repeat(batch, 1, 1)[:, None],
    )
    return y.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :time]


class WeightedSinks(nn.Module):
    """Weights other than softmax over sinks and a window; all pairs are computed."""

    def __init__(
        self, *, sinks: int, window: int, visible: nn.Module, normaliser: nn.Module
    ) -> None:
        super().__init__()
        self.visible = visible
        self.normaliser = normaliser
        self.sinks = sinks
        self.window = window

    def empty_cache(self) -> SinkCache:
        """Keys and values that decoding keeps."""
        return SinkCache(self.sinks, self.window)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        visible = self.visible(*sink_positions(q, k, self.sinks, start))  # [T, S]
        k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
        scores = q @ k.mT * q.shape[-1] ** -0.5  # [B, H, T, S]
        return self.normaliser(scores, visible) @ v


class RecentOrSink(nn.Module):
    """Which keys are visible: the first `sinks` and the last `window`, up to the query.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, sinks: int, window: int) -> None:
        super().__init__()
        self.sinks = sinks
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        behind = rows[:, None] - columns
        return (behind >= 0) & ((behind < self.window) | (columns < self.sinks))


class NearOrSink(nn.Module):
    """Which keys are visible: the first `sinks` and those less than `window` away.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, sinks: int, window: int) -> None:
        super().__init__()
        self.sinks = sinks
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return ((rows[:, None] - columns).abs() < self.window) | (columns < self.sinks)
