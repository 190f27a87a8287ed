"""What scopes of softmax attention have in common.

B batch, T new tokens, S keys held, H query heads, G key and value heads, K and V head widths

A scope is called with q [B, H, T, K], k [B, G, S, K], v [B, G, S, V] and the position of the
first query, and returns [B, H, T, V]. Unless its cache says otherwise, the keys are those of the
last S tokens up to the last query.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyValueCache:
    """Keys and values of the tokens seen so far; grows by doubling, so a step copies little.

    With a window, only the last `window` tokens are kept.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.length = 0  # tokens seen
        self.first = 0  # where the kept tokens start in the buffers
        self.kept = 0
        self.keys: Tensor | None = None  # [B, G, capacity, K]
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Takes [B, G, T, K], returns all that the new tokens may see: [B, G, S, K]."""
        new = keys.shape[2]
        self._make_room(keys, values, new)
        assert self.keys is not None
        assert self.values is not None
        end = self.first + self.kept + new
        self.keys[:, :, end - new : end] = keys
        self.values[:, :, end - new : end] = values
        seen = slice(self.first, end)
        self.length, self.kept = self.length + new, self.kept + new
        if self.window is not None and self.kept > self.window:
            # the first new token sees `window - 1` of those before it, the others fewer
            seen = slice(max(self.first, end - new - self.window + 1), end)
            self.first, self.kept = end - self.window, self.window
        return self.keys[:, :, seen], self.values[:, :, seen]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        if self.keys is None or self.values is None:
            return 0
        return self.kept * (self.keys[0, :, 0].numel() + self.values[0, :, 0].numel())

    def _make_room(self, keys: Tensor, values: Tensor, new: int) -> None:
        need = self.kept + new
        if self.keys is not None and self.first + need <= self.keys.shape[2]:
            return
        self.keys = self._moved(self.keys, keys, 2 * need)
        self.values = self._moved(self.values, values, 2 * need)
        self.first = 0

    def _moved(self, old: Tensor | None, like: Tensor, capacity: int) -> Tensor:
        buffer = like.new_empty(like.shape[0], like.shape[1], capacity, like.shape[3])
        if old is not None:
            buffer[:, :, : self.kept] = old[:, :, self.first : self.first + self.kept]
        return buffer


class MaskedSoftmax(nn.Module):
    """Softmax over the keys that `visible` lets a query see."""

    def __init__(self, *, visible: nn.Module) -> None:
        super().__init__()
        self.visible = visible

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        mask = self.visible(*positions(q, k, start))
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


class Weighted(nn.Module):
    """Dense attention whose weights are whatever `normaliser` makes of the scores."""

    def __init__(self, *, visible: nn.Module, normaliser: nn.Module) -> None:
        super().__init__()
        self.visible = visible
        self.normaliser = normaliser

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        visible = self.visible(*positions(q, k, start))  # [T, S]
        k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
        scores = q @ k.mT * q.shape[-1] ** -0.5  # [B, H, T, S]
        return self.normaliser(scores, visible) @ v


def softmax_where(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention over the keys that `mask` (broadcast to [B, H, T, S]) lets a query see."""
    grouped = q.shape[-3] != k.shape[-3]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


def positions(q: Tensor, k: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Of the queries [T] and of the keys [S], which end at the last query."""
    end = start + q.shape[2]
    rows = torch.arange(start, end, device=q.device)
    return rows, torch.arange(end - k.shape[2], end, device=q.device)


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """[B, G, S, K] -> [B, heads, S, K], each group for as many heads in a row."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)
