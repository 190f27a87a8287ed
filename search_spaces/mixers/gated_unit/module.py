"""Gated single-head attention, inside chunks and over all tokens (arXiv 2202.10447, 2302.11824).

B batch, T time, D width, E hidden width, S key width, V value width (E, or 2E with triple
gating), N chunks, C chunk length
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.pieces.carried.module import Carried
from nas.search_spaces.pieces.short_conv.module import ShortConv


class GatedUnit(nn.Module):
    """One narrow projection gives queries and keys to every branch; what the branches find gates
    wide hidden units, which is why no FFN follows: [B, T, D] -> [B, T, D].
    """

    def __init__(
        self,
        *,
        dim: int,
        hidden: int,
        key_dim: int,
        conv_in: nn.Module,
        conv_out: nn.Module,
        branches: tuple[nn.Module, ...],
        gating: Any,
    ) -> None:
        super().__init__()
        self.widths = (hidden, hidden, key_dim)
        self.project = nn.Linear(dim, sum(self.widths), bias=False)
        self.conv_in = conv_in
        self.branches = nn.ModuleList(branches)
        self.gating = gating
        self.out = nn.Linear(hidden, dim, bias=False)
        self.conv_out = conv_out

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        start = 0 if state is None else state.length
        projected = self.conv_in(F.silu(self.project(x)), state, "projected")
        u, v, z = projected.split(self.widths, dim=-1)  # [B, T, E], [B, T, E], [B, T, S]
        values = self.gating.values(u, v)  # [B, T, V]
        found = [branch(z, values, start, state) for branch in self.branches]
        y = self.conv_out(self.out(self.gating(torch.stack(found).sum(0), u, v)), state, "out")
        if state is not None:
            state.length += x.shape[1]
        return y


class DoubleGating(nn.Module):
    """What is found in v gates u (FLASH)."""

    def values(self, u: Tensor, v: Tensor) -> Tensor:
        """What the branches look for: [B, T, E]"""
        return v

    def forward(self, found: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return u * found


class TripleGating(nn.Module):
    """What is found in u gates v, and what is found in v gates both (MossFormer)."""

    def values(self, u: Tensor, v: Tensor) -> Tensor:
        """What the branches look for: [B, T, 2E]"""
        return torch.cat((v, u), dim=-1)

    def forward(self, found: Tensor, u: Tensor, v: Tensor) -> Tensor:
        found_v, found_u = found.chunk(2, dim=-1)
        return (found_u * v) * (found_v * u).sigmoid()


class ConvAugment(nn.Module):
    """Adds a causal depthwise convolution: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, channels: int, width: int) -> None:
        super().__init__()
        self.conv = ShortConv(channels=channels, width=width)

    def forward(self, x: Tensor, state: Carried | None, name: str) -> Tensor:
        """The state keeps the latest inputs under `name`."""
        y, latest = self.conv(x, None if state is None else state.get(name))
        if state is not None:
            state.tensors[name] = latest
        return x + y


class TwoWayConvAugment(nn.Module):
    """Adds a depthwise convolution with the present token in the middle: [B, T, C] -> same."""

    def __init__(self, *, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, width, groups=channels, bias=False)

    def forward(self, x: Tensor, state: Any, name: str) -> Tensor:
        width = self.conv.kernel_size[0]
        return x + self.conv(F.pad(x.mT, ((width - 1) // 2, width // 2))).mT


class NoConvAugment(nn.Module):
    """Returns x as it is."""

    def forward(self, x: Tensor, state: Any, name: str) -> Tensor:
        return x


class QueryAndKey(nn.Module):
    """Queries and keys of one branch, by a scale and an offset of its own for each: z [B, T, S] ->
    two times [B, T, S], with positions."""

    def __init__(self, *, key_dim: int, size: float, position: nn.Module) -> None:
        super().__init__()
        self.position = position
        self.scale = nn.Parameter(size * (1 + 0.1 * torch.randn(2, key_dim)))
        self.offset = nn.Parameter(torch.zeros(2, key_dim))

    def forward(self, z: Tensor, start: int) -> tuple[Tensor, Tensor]:
        both = z[:, None] * self.scale[:, None] + self.offset[:, None]  # [B, 2, T, S]
        q, k = self.position(both, start).unbind(1)
        return q, k


class ChunkSquares(nn.Module):
    """Weights relu(q.k / C)^2 inside chunks of C tokens: z [B, T, S] and v [B, T, V] -> [B, T, V].

    A token sees those before it in its chunk.
    """

    def __init__(self, *, key_dim: int, chunk: int, position: nn.Module) -> None:
        super().__init__()
        self.chunk = chunk
        self.query_and_key = QueryAndKey(key_dim=key_dim, size=1.0, position=position)

    def forward(self, z: Tensor, v: Tensor, start: int, state: Carried | None) -> Tensor:
        q, k = self.query_and_key(z, start)
        if state is not None:
            k = self.continued(k, start, state, "chunk_keys")  # [B, filled + T, S]
            v = self.continued(v, start, state, "chunk_values")
        filled = k.shape[1] - q.shape[1]  # tokens of this chunk that came before
        if k.shape[1] <= self.chunk:
            return self.weights(q, k).tril(filled) @ v
        q = split_chunks(F.pad(q, (0, 0, filled, 0)), self.chunk)  # [B, N, C, S]
        k, values = split_chunks(k, self.chunk), split_chunks(v, self.chunk)
        o = self.weights(q, k).tril() @ values
        return o.flatten(1, 2)[:, filled : v.shape[1]]

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Of each key for each query."""
        return (q @ k.mT / self.chunk).relu().square()

    def continued(self, x: Tensor, start: int, state: Carried, name: str) -> Tensor:
        """x after those before it in its chunk; the state keeps room for one chunk."""
        kept = state.get(name)
        if kept is not None:
            x = torch.cat((kept[:, : start % self.chunk], x), dim=1)
        rest = x.shape[1] % self.chunk
        state.tensors[name] = F.pad(x[:, x.shape[1] - rest :], (0, 0, 0, self.chunk - rest))
        return x


class TwoWayChunkSquares(ChunkSquares):
    """The same, but a token sees its whole chunk."""

    def forward(self, z: Tensor, v: Tensor, start: int, state: Any) -> Tensor:
        q, k = self.query_and_key(z, 0)
        if q.shape[1] <= self.chunk:
            return self.weights(q, k) @ v
        q, k, values = (split_chunks(x, self.chunk) for x in (q, k, v))
        # keys of zeros fill up the last chunk; their weight is zero
        return (self.weights(q, k) @ values).flatten(1, 2)[:, : v.shape[1]]


class EarlierChunks(nn.Module):
    """Linear attention to all chunks before a token's own, as an average over their tokens.

    z [B, T, S] and v [B, T, V] -> [B, T, V]. The state is the sum of k v^T over all tokens and over
    those of complete chunks, [B, S, V] each.
    """

    def __init__(self, *, key_dim: int, chunk: int, position: nn.Module) -> None:
        super().__init__()
        self.chunk = chunk
        # the products of queries and keys start out around one, however wide they are
        self.query_and_key = QueryAndKey(key_dim=key_dim, size=key_dim**-0.5, position=position)

    def forward(self, z: Tensor, v: Tensor, start: int, state: Carried | None) -> Tensor:
        q, k = self.query_and_key(z, start)
        filled = start % self.chunk  # tokens of this chunk that came before
        state = Carried() if state is None else state
        total = state.get("total")
        if total is None:  # sums in float32 at least
            dtype = torch.promote_types(k.dtype, torch.float32)
            total = k.new_zeros(k.shape[0], k.shape[2], v.shape[2], dtype=dtype)
        complete = state.tensors["complete"] if filled else total
        if filled + q.shape[1] <= self.chunk:
            o = q @ complete.to(q.dtype)
            # one token is written without a matrix product
            total = total + (k.mT * v if k.shape[1] == 1 else k.mT @ v)
        else:
            # as if from the start of the chunk, whose first tokens are already in the sums
            q, k, v = (F.pad(x, (0, 0, filled, 0)) for x in (q, k, v))
            o, total, complete = self.across_chunks(q, k, v, total, complete)
            o = o[:, filled : q.shape[1]]
        state.tensors |= {"total": total, "complete": complete}
        position = torch.arange(start, start + z.shape[1], device=z.device)
        earlier = position - position % self.chunk
        return o / earlier.clamp_min(1)[:, None]

    def across_chunks(
        self, q: Tensor, k: Tensor, v: Tensor, total: Tensor, complete: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Several chunks from the start of one: what is found, and the sums after the last."""
        q, k, v = (split_chunks(x, self.chunk) for x in (q, k, v))
        writes = (k.mT @ v).to(total.dtype)  # [B, N, S, V]
        after = total[:, None] + writes.cumsum(1)
        before = torch.cat((complete[:, None], after[:, :-1]), dim=1)
        o = q @ before.to(q.dtype)
        return o.flatten(1, 2), after[:, -1].clone(), before[:, -1].clone()


class AllEarlier(nn.Module):
    """Linear attention to all tokens up to each, as an average: z, v -> [B, T, V]"""

    def __init__(self, *, key_dim: int, position: nn.Module) -> None:
        super().__init__()
        self.query_and_key = QueryAndKey(key_dim=key_dim, size=key_dim**-0.5, position=position)

    def forward(self, z: Tensor, v: Tensor, start: int, state: Carried | None) -> Tensor:
        q, k = (x[:, None] for x in self.query_and_key(z, start))  # one head
        before = None if state is None else state.get("total")
        o, total = linear_attention(q, k, v[:, None], q.new_zeros(1, 1, 1, 1), before)
        if state is not None:
            state.tensors["total"] = total
        seen = torch.arange(start + 1, start + z.shape[1] + 1, device=z.device)
        return o[:, 0] / seen[:, None]


class TwoWayAverage(nn.Module):
    """Linear attention to all tokens, as an average: z, v -> [B, T, V]"""

    def __init__(self, *, key_dim: int, position: nn.Module) -> None:
        super().__init__()
        self.query_and_key = QueryAndKey(key_dim=key_dim, size=key_dim**-0.5, position=position)

    def forward(self, z: Tensor, v: Tensor, start: int, state: Any) -> Tensor:
        q, k = self.query_and_key(z, 0)
        return q @ (k.mT @ v) / z.shape[1]


def split_chunks(x: Tensor, chunk: int) -> Tensor:
    """[B, T, W] to [B, N, C, W], filled up with zeros at the end."""
    return F.pad(x, (0, 0, 0, -x.shape[1] % chunk)).unflatten(1, (-1, chunk))
