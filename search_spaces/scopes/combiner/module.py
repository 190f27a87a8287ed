"""Full attention through summaries of regions (arXiv 2107.05768). Shapes as all scopes
have them; N blocks of L tokens, R regions that a block knows.

Regions are found by a module that maps keys [B, G, N, L, K], values [B, G, N, L, V] and which of
them are part of the text [N, L] to what the last M blocks know: the regions' keys [B, G, M, R, K]
and values [B, G, M, R, V], and which of these there are, [M, R].
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, softmax_where


class Combiner(nn.Module):
    """A token attends to its block up to itself, and to all before through summaries of regions.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. One softmax weighs the tokens of the
    block and the regions.
    """

    def __init__(self, *, block: int, regions: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.regions = regions

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        if q.shape[2] == 1:
            return self.step(q, k, v)
        before = start % self.block  # tokens of the first query's block that came earlier
        q = F.pad(q, (0, 0, before, 0))
        own = torch.arange(self.block, device=q.device)
        visible = own <= own[:, None]  # [L, L]
        y = attend_with_regions(q, k, v, self.block, self.regions, visible.expand(1, -1, -1))
        return y[:, :, before:]

    def step(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The newest token alone: [B, H, 1, K] -> [B, H, 1, K]."""
        earlier = (k.shape[2] - 1) // self.block * self.block  # tokens of finished blocks
        keys, values, known = self.regions(*blocks_of(k, v, self.block), last=1)
        k = torch.cat((k[:, :, earlier:], keys[:, :, 0]), dim=2)
        v = torch.cat((v[:, :, earlier:], values[:, :, 0]), dim=2)
        mask = F.pad(known, (k.shape[2] - known.shape[1], 0), value=True)
        return softmax_where(q, k, v, mask)


class BothWaysCombiner(nn.Module):
    """A token attends to its block, and to all other tokens through summaries of regions.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, block: int, regions: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.regions = regions

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        real = within_text(q.shape[2], self.block, q.device)  # [N, L]
        return attend_with_regions(q, k, v, self.block, self.regions, real[:, None])


def attend_with_regions(
    q: Tensor, k: Tensor, v: Tensor, block: int, regions: nn.Module, visible: Tensor
) -> Tensor:
    """The queries of the last blocks against their own block, as far as `visible` ([N or 1, L or 1,
    L]), and against the regions of that block."""
    batch, _, time, _ = q.shape
    q = F.pad(q, (0, 0, 0, -time % block)).unflatten(2, (-1, block))  # [B, H, M, L, K]
    last = q.shape[2]
    k, v, real = blocks_of(k, v, block)
    keys, values, known = regions(k, v, real, last=last)
    k = torch.cat((k[:, :, -last:], keys), dim=3)  # [B, G, M, L + R, K]
    v = torch.cat((v[:, :, -last:], values), dim=3)
    visible = visible.expand(last, block, -1)
    mask = torch.cat((visible, known[:, None].expand(-1, block, -1)), dim=2)
    y = softmax_where(
        q.transpose(1, 2).flatten(0, 1),  # [B * M, H, L, K]
        k.transpose(1, 2).flatten(0, 1),
        v.transpose(1, 2).flatten(0, 1),
        mask.repeat(batch, 1, 1)[:, None],
    )
    return y.unflatten(0, (batch, last)).transpose(1, 2).flatten(2, 3)[:, :, :time]


def blocks_of(k: Tensor, v: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values cut into blocks [B, G, N, L, K], and which of them are part of the text."""
    time = k.shape[2]
    fill = -time % block
    k = F.pad(k, (0, 0, 0, fill)).unflatten(2, (-1, block))
    v = F.pad(v, (0, 0, 0, fill)).unflatten(2, (-1, block))
    return k, v, within_text(time, block, k.device)


def within_text(time: int, block: int, device: torch.device) -> Tensor:
    """Which places of the blocks that hold `time` tokens are part of the text: [N, L]."""
    return (torch.arange(time + -time % block, device=device) < time).unflatten(0, (-1, block))


class EachBlock(nn.Module):
    """Every other block is a region (Combiner-Fixed); `pool` makes its key."""

    def __init__(self, *, pool: nn.Module, causal: bool) -> None:
        super().__init__()
        self.pool = pool
        self.causal = causal

    def forward(
        self, k: Tensor, v: Tensor, real: Tensor, last: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        keys, values = summarise(k, v, real, self.pool)  # [B, G, N, K]
        block = torch.arange(len(real), device=k.device)
        mine = block[-last:, None]
        known = block < mine if self.causal else block != mine
        shape = (-1, -1, last, -1, -1)  # each block has the same regions
        return keys[:, :, None].expand(shape), values[:, :, None].expand(shape), known


class Dyadic(nn.Module):
    """Regions that double with distance (Combiner-Logsparse); `pool` makes their keys.

    Blocks are the leaves of a binary tree; the regions of a leaf are the siblings of the nodes on
    its way to the root. From left to right, only the siblings on the left.
    """

    def __init__(self, *, pool: nn.Module, causal: bool) -> None:
        super().__init__()
        self.pool = pool
        self.causal = causal

    def forward(
        self, k: Tensor, v: Tensor, real: Tensor, last: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        blocks = len(real)
        block = torch.arange(blocks - last, blocks, device=k.device)
        keys, values, known = [k[:, :, -last:, :0]], [v[:, :, -last:, :0]], [real[-last:, :0]]
        for level in range((blocks - 1).bit_length()):
            size = 1 << level  # blocks of a node
            first = (blocks - last) // size & ~1  # no earlier node is a sibling
            late = first * size
            node = merged(k[:, :, late:], v[:, :, late:], real[late:], size)
            node_k, node_v = summarise(*node, self.pool)
            sibling = (block // size ^ 1) - first
            there = sibling < node_k.shape[2]
            if self.causal:
                there = there & (sibling % 2 == 0)
            at = sibling.clamp(max=node_k.shape[2] - 1)
            keys.append(node_k[:, :, at, None])
            values.append(node_v[:, :, at, None])
            known.append(there[:, None])
        return torch.cat(keys, dim=3), torch.cat(values, dim=3), torch.cat(known, dim=1)


def merged(k: Tensor, v: Tensor, real: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """`size` blocks in a row as one: [B, G, N, L, K] -> [B, G, N / size, size * L, K]."""
    fill = -len(real) % size
    wide = (0, 0, 0, 0, 0, fill)
    k = F.pad(k, wide).unflatten(2, (-1, size)).flatten(3, 4)
    v = F.pad(v, wide).unflatten(2, (-1, size)).flatten(3, 4)
    return k, v, F.pad(real, (0, 0, 0, fill)).unflatten(0, (-1, size)).flatten(1, 2)


class Columns(nn.Module):
    """The blocks are the rows of a grid; what stands above in each column is a region
    (Combiner-Axial). `pool` makes their keys."""

    def __init__(self, *, pool: Any) -> None:
        super().__init__()
        self.pool = pool

    def forward(
        self, k: Tensor, v: Tensor, real: Tensor, last: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        keys, known = self.pool.running(k, real)
        keys = F.pad(keys[:, :, :-1], (0, 0, 0, 0, 1, 0))  # what stands above, without the row
        known = F.pad(known[:-1], (0, 0, 1, 0))
        keys, known = keys[:, :, -last:], known[-last:]
        rows = torch.arange(len(real), device=k.device)
        above = (rows < rows[-last:, None]) & real.T[:, None]  # [L, M, N]
        # a column with nothing above attends to anything; nobody knows it
        mask = above | ~above.any(-1, keepdim=True)
        q, k, v = (x.transpose(2, 3) for x in (keys, k, v))  # [B, G, L, M or N, K]
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return keys, values.transpose(2, 3), known


class ColumnsBothWays(nn.Module):
    """As `columns`, which finds what stands above, and the same below; of all blocks."""

    def __init__(self, *, columns: Columns) -> None:
        super().__init__()
        self.columns = columns

    def forward(
        self, k: Tensor, v: Tensor, real: Tensor, last: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        keys, values, known = self.columns(k, v, real, last)
        below = self.columns(k.flip(2), v.flip(2), real.flip(0), last)
        keys = torch.cat((keys, below[0].flip(2)), dim=3)
        values = torch.cat((values, below[1].flip(2)), dim=3)
        return keys, values, torch.cat((known, below[2].flip(0)), dim=1)


def summarise(k: Tensor, v: Tensor, real: Tensor, pool: nn.Module) -> tuple[Tensor, Tensor]:
    """A key and a value for each region: [B, G, N, L, K] -> [B, G, N, K].

    The value is the mean of the tokens' values, weighted by a softmax of the pooled key against
    their keys.
    """
    keys = pool(k, real)
    mask = real | ~real.any(-1, keepdim=True)  # an empty region, which nobody knows, sees anything
    values = F.scaled_dot_product_attention(keys[..., None, :], k, v, attn_mask=mask[:, None])
    return keys, values.squeeze(3)


class MeanPool(nn.Module):
    """The mean of the tokens that are part of the text."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x [B, G, N, L, K], real [N, L] -> [B, G, N, K]; zero where a region is empty."""
        count = real.sum(-1, keepdim=True).clamp_min(1)  # [N, 1]
        return (x * real[..., None]).sum(3) / count

    def running(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Of each column down to each row, [B, G, N, L, K], and whether there is any, [N, L]."""
        count = real.cumsum(0)
        total = (x * real[..., None]).cumsum(2)
        return total / count.clamp_min(1)[..., None], count > 0


class MaxPool(nn.Module):
    """The largest value, channel by channel, among the tokens that are part of the text."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x [B, G, N, L, K], real [N, L] -> [B, G, N, K]; zero where a region is empty."""
        least = torch.finfo(x.dtype).min
        largest = x.masked_fill(~real[..., None], least).amax(3)
        return largest.masked_fill(~real.any(-1, keepdim=True), 0)

    def running(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Of each column down to each row, [B, G, N, L, K], and whether there is any, [N, L]."""
        least = torch.finfo(x.dtype).min
        largest = x.masked_fill(~real[..., None], least).cummax(2).values
        known = real.cumsum(0) > 0
        return largest.masked_fill(~known[..., None], 0), known
