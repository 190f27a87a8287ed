"""Softmax attention with grouped keys and values (arXiv 1706.03762, 2305.13245).

B batch, T time, S keys held, H query heads, G key and value heads, K head width
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


class Attention(nn.Module):
    """Causal softmax attention. groups = heads is MHA, groups = 1 is MQA, between them GQA."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        groups: int,
        head_dim: int,
        bias: bool,
        position: nn.Module,
        scope: "Everything | Window",
    ) -> None:
        super().__init__()
        self.window = scope.window
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, groups * head_dim, bias=bias)
        self.value = nn.Linear(dim, groups * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, dim, bias=bias)

    def empty_state(self) -> KeyValueCache:
        """What decoding carries from token to token."""
        return KeyValueCache(self.window)

    def forward(self, x: Tensor, state: KeyValueCache | None = None) -> Tensor:
        offset = 0 if state is None else state.length
        q = self.position(split_heads(self.query(x), self.head_dim), offset)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), offset)  # [B, G, T, K]
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, G, S, K]
        return self.out(self.scope(q, k, v).transpose(1, 2).flatten(2))


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, T, H * K] -> [B, H, T, K]"""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


class Everything(nn.Module):
    """A token sees all tokens before it: the last T of S tokens attend to all S.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]
    """

    window = None

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        grouped = q.shape[1] != k.shape[1]
        if new == seen:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        mask = None  # a single new token sees everything
        if new > 1:
            mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


class Window(nn.Module):
    """A token sees the last `window` tokens, itself included; shapes as in `Everything`.

    Long inputs are cut into blocks of a window, each against itself and the block before, so that
    the work grows with T x window.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        if new == seen and new > 2 * self.window:
            return self.in_blocks(q, k, v)
        mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
        mask = mask.triu(seen - new - self.window + 1)
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)

    def in_blocks(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, heads, time, _ = q.shape
        window = self.window
        blocks = -(-time // window)
        fill = blocks * window - time
        q = F.pad(q, (0, 0, 0, fill)).unflatten(2, (blocks, window))  # [B, H, N, W, K]
        k = F.pad(k, (0, 0, window, fill)).unfold(2, 2 * window, window).mT  # [B, G, N, 2W, K]
        v = F.pad(v, (0, 0, window, fill)).unfold(2, 2 * window, window).mT
        row = torch.arange(window, device=q.device)[:, None] + window
        column = torch.arange(2 * window, device=q.device)
        mask = (column <= row) & (column > row - window)  # [W, 2W]
        first = mask & (column >= window)  # the first block has none before it
        masks = torch.cat((first[None], mask.expand(blocks - 1, -1, -1)))  # [N, W, 2W]
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2).flatten(0, 1),  # [B * N, H, W, K]
            k.transpose(1, 2).flatten(0, 1),
            v.transpose(1, 2).flatten(0, 1),
            attn_mask=masks.repeat(batch, 1, 1)[:, None],
            enable_gqa=heads != k.shape[1],
        )
        return y.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :time]
