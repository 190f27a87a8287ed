"""Attention inside hash buckets (arXiv 2001.04451).

Shapes as all scopes have them.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import (
    KeyValueCache,
    positions,
    repeat_heads,
    softmax_where,
)


class SameBucket(nn.Module):
    """A token sees those whose key falls into the bucket of its query in any round of hashing.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. A hash is the direction, of `buckets`
    spread by a random rotation, to which a vector points most. A token sees itself only when it
    sees nothing else. All pairs are computed and masked; `visible` says which of them count.
    """

    rotations: Tensor

    def __init__(
        self, *, head_dim: int, rounds: int, buckets: int, seed: int, visible: nn.Module
    ) -> None:
        super().__init__()
        self.visible = visible
        random = torch.Generator().manual_seed(seed)
        rotations = torch.randn(rounds, head_dim, buckets // 2, generator=random)
        self.register_buffer("rotations", rotations)  # [R, K, N / 2]

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        rows, columns = positions(q, k, start)
        chosen = self.same_bucket(q, k) & self.visible(rows, columns)  # [B, H, T, S]
        own = rows[:, None] == columns
        others = chosen & ~own
        return softmax_where(q, k, v, others | (own & ~others.any(-1, keepdim=True)))

    def same_bucket(self, q: Tensor, k: Tensor) -> Tensor:
        """Whether a query and a key share a bucket in any round: [B, H, T, S]."""
        mine = self.hashes(q)  # [B, H, R, T]
        theirs = repeat_heads(self.hashes(k), q.shape[1])
        rounds = zip(mine.unbind(2), theirs.unbind(2), strict=True)
        shared = (one[..., None] == other[..., None, :] for one, other in rounds)
        return reduce(torch.logical_or, shared)

    @torch.no_grad()
    def hashes(self, x: Tensor) -> Tensor:
        """Bucket of each vector in each round: [B, H, T, K] -> [B, H, R, T]."""
        turned = x[:, :, None] @ self.rotations  # [B, H, R, T, N / 2]
        return torch.cat((turned, -turned), dim=-1).argmax(-1)


class UnitKeys(nn.Module):
    """Scales keys to length one before `scope` sees them, as shared queries and keys need it."""

    def __init__(self, *, scope: SameBucket) -> None:
        super().__init__()
        self.scope = scope

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return self.scope.empty_cache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        y: Tensor = self.scope(q, F.normalize(k, dim=-1), v, start)
        return y
