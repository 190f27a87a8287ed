"""Groups of tokens and their latents (FIT, arXiv 2305.12689).

B batch, T new tokens, D width, n tokens of a group, m latents of a group, G groups,
L = G x m latents, H heads, K head width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.attend.module import KeyValueCache


class GroupLatentsState:
    """Keys and values of the group that is not complete, what the latents of the last complete
    group have written, and keys and values of all latents."""

    def __init__(self, layers: int) -> None:
        self.length = 0  # tokens seen
        self.group: Tensor | None = None  # [B, 4, H, n, K], filled up with zeros
        self.written: Tensor | None = None  # [B, 2, H, m, K]
        self.latents = [KeyValueCache() for _ in range(layers)]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        if self.group is None or self.written is None:
            return 0
        own = self.group[0].numel() + self.written[0].numel()
        return own + sum(cache.values_held() for cache in self.latents)


class GroupLatents(nn.Module):
    """Tokens see those before them in their group of n, and the latents of the group before theirs,
    which have seen all tokens up to its end: [B, T, D] -> [B, T, D]."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        group_size: int,
        latents: int,
        position: nn.Module,
        layers: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.group_size = group_size
        self.latents = latents
        self.position = position
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.read = ReadGroup(dim=dim, heads=heads, head_dim=head_dim, latents=latents)
        self.layers = nn.ModuleList(layers)
        self.write = WriteGroup(dim=dim, heads=heads, head_dim=head_dim)
        # keys and values that the first group reads, as there is no group before it
        self.before = nn.Parameter(torch.randn(2, heads, latents, head_dim))
        self.out = nn.Linear(2 * heads * head_dim, dim, bias=False)

    def empty_state(self) -> GroupLatentsState:
        """What decoding carries from token to token."""
        return GroupLatentsState(len(self.layers))

    def forward(self, x: Tensor, state: GroupLatentsState | None = None) -> Tensor:
        start = 0 if state is None else state.length
        inside = start % self.group_size  # tokens of the present group that were seen before
        q = self.position(split_heads(self.query(x), self.head_dim), start)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)
        v = split_heads(self.value(x), self.head_dim)
        held = torch.stack((k, v, *self.read.keys_and_values(x)), dim=1)  # [B, 4, H, T, K]
        written = self.before.to(held.dtype).expand(len(x), -1, -1, -1, -1)  # [B, 2, H, m, K]
        if state is not None and state.group is not None and state.written is not None:
            held = torch.cat((state.group[..., :inside, :], held), dim=3)
            written = state.written
        if held.shape[3] >= self.group_size:
            written = torch.cat((written, self.complete(held, state)), dim=3)
        if state is not None:
            self.keep(state, held, written, x.shape[1])
        k, v = held[:, 0], held[:, 1]
        local = attend_in_groups(q, k, v, inside, self.group_size, self.group_size, causal=True)
        k, v = written.unbind(1)
        q = self.write.queries(x)
        distant = attend_in_groups(q, k, v, inside, self.group_size, self.latents, causal=False)
        return self.out(torch.cat((local, distant), dim=1).transpose(1, 2).flatten(2))

    def complete(self, held: Tensor, state: GroupLatentsState | None) -> Tensor:
        """What the latents of the G groups that are now complete have to say: [B, 2, H, L, K]"""
        groups = held.shape[3] // self.group_size
        tokens = held[:, 2:, :, : groups * self.group_size]
        k, v = tokens.unflatten(3, (groups, self.group_size)).unbind(1)  # [B, H, G, n, K]
        latents = self.read(k.transpose(1, 2).flatten(0, 1), v.transpose(1, 2).flatten(0, 1))
        latents = latents.unflatten(0, (-1, groups)).flatten(1, 2)  # [B, L, D]
        caches = [None] * len(self.layers) if state is None else state.latents
        for layer, cache in zip(self.layers, caches, strict=True):
            latents = latents + layer(latents, cache)
        return torch.stack(self.write.keys_and_values(latents), dim=1).to(held.dtype)

    def keep(self, state: GroupLatentsState, held: Tensor, written: Tensor, new: int) -> None:
        """Of the tokens, those of the group that is not complete; of the latents, the last m."""
        rest = held.shape[3] % self.group_size
        unfinished = held[..., held.shape[3] - rest :, :]
        state.group = F.pad(unfinished, (0, 0, 0, self.group_size - rest))
        state.written = written[..., -self.latents :, :].clone()
        state.length += new


class GroupLatentsBothWays(nn.Module):
    """Tokens see their group of n and its latents, which have seen all tokens:
    [B, T, D] -> [B, T, D]."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        group_size: int,
        latents: int,
        position: nn.Module,
        layers: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.group_size = group_size
        self.position = position
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.read = ReadGroup(dim=dim, heads=heads, head_dim=head_dim, latents=latents)
        self.layers = nn.ModuleList(layers)
        self.write = WriteGroup(dim=dim, heads=heads, head_dim=head_dim)
        self.out = nn.Linear(2 * heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        time = x.shape[1]
        size = min(self.group_size, time)
        groups = -(-time // size)
        real = torch.arange(groups * size, device=x.device).view(groups, 1, 1, size) < time
        real = real.repeat(len(x), 1, 1, 1)  # [B * G, 1, 1, n]; the last group may not be full

        q = self.position(split_heads(self.query(x), self.head_dim), 0)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), 0)
        v = split_heads(self.value(x), self.head_dim)
        q, k, v = (in_groups_of(size, part) for part in (q, k, v))  # [B * G, H, n, K]
        local = F.scaled_dot_product_attention(q, k, v, attn_mask=real)

        k, v = (in_groups_of(size, part) for part in self.read.keys_and_values(x))
        latents = self.read(k, v, real).unflatten(0, (-1, groups)).flatten(1, 2)  # [B, L, D]
        for layer in self.layers:
            latents = latents + layer(latents)

        k, v = self.write.keys_and_values(latents)  # [B, H, L, K]
        k, v = (in_groups_of(k.shape[2] // groups, part) for part in (k, v))
        distant = F.scaled_dot_product_attention(in_groups_of(size, self.write.queries(x)), k, v)
        y = torch.cat((local, distant), dim=1).transpose(1, 2)  # [B * G, n, 2 * H, K]
        return self.out(y.flatten(2).unflatten(0, (-1, groups)).flatten(1, 2)[:, :time])


class ReadGroup(nn.Module):
    """Latents of a group from its keys and values [B * G, H, n, K]: [B * G, m, D]."""

    def __init__(self, *, dim: int, heads: int, head_dim: int, latents: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.query = nn.Parameter(torch.randn(heads, latents, head_dim))
        self.latents = nn.Parameter(torch.randn(latents, dim) * 0.1)  # less than what they read
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D] -> [B, H, T, K] twice."""
        return split_heads(self.key(x), self.head_dim), split_heads(self.value(x), self.head_dim)

    def forward(self, k: Tensor, v: Tensor, real: Tensor | None = None) -> Tensor:
        q = self.query.to(k.dtype).expand(len(k), -1, -1, -1)  # [B * G, H, m, K]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=real)
        return self.latents + self.out(found.transpose(1, 2).flatten(2))


class WriteGroup(nn.Module):
    """Queries of tokens, and keys and values of latents."""

    def __init__(self, *, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.norm = RMSNorm(dim=dim)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, K]"""
        return split_heads(self.query(x), self.head_dim)

    def keys_and_values(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L, D] -> [B, H, L, K] twice."""
        z = self.norm(latents)
        return split_heads(self.key(z), self.head_dim), split_heads(self.value(z), self.head_dim)


class LatentLayer(nn.Module):
    """Attention among latents: [B, L, D] -> [B, L, D]. `scope` says which see each other."""

    def __init__(
        self, *, dim: int, heads: int, head_dim: int, position: nn.Module, scope: nn.Module
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.norm = RMSNorm(dim=dim)
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, latents: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        start = 0 if cache is None else cache.length
        z = self.norm(latents)
        q = self.position(split_heads(self.query(z), self.head_dim), start)  # [B, H, L, K]
        k = self.position(split_heads(self.key(z), self.head_dim), start)
        v = split_heads(self.value(z), self.head_dim)
        if cache is not None:
            k, v = cache.append(k, v)
        return self.out(self.scope(q, k, v, start).transpose(1, 2).flatten(2))


class GroupsUpToNow(nn.Module):
    """Which latents are visible: those of the query's group and of earlier ones, `size` each.
    rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return columns // self.size <= rows[:, None] // self.size


def attend_in_groups(
    q: Tensor, k: Tensor, v: Tensor, inside: int, size: int, keys: int, *, causal: bool
) -> Tensor:
    """Tokens attend to the keys of their own group only: [B, H, T, K].

    q [B, H, T, K] starts at place `inside` of a group of `size` tokens; k and v [B, H, S, K] start
    with the first of the `keys` keys of that group. `causal` is for keys that are the tokens.
    """
    time = q.shape[2]
    if inside == 0 and time >= size:
        groups = -(-time // size)
        k, v = k[:, :, : groups * keys], v[:, :, : groups * keys]
        q, k, v = in_groups_of(size, q), in_groups_of(keys, k), in_groups_of(keys, v)
        # what fills up the last group comes after every token
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # [B * G, H, n, K]
        return y.unflatten(0, (-1, groups)).transpose(1, 2).flatten(2, 3)[:, :, :time]
    rows = torch.arange(inside, inside + time, device=q.device)[:, None]
    needed = -(-(inside + time) // size) * keys  # up to the group of the last token
    k, v = k[:, :, :needed], v[:, :, :needed]
    columns = torch.arange(k.shape[2], device=q.device)
    visible = rows // size == columns // keys  # [T, S]
    if causal:
        visible = visible & (columns <= rows)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)


def in_groups_of(size: int, x: Tensor) -> Tensor:
    """[B, H, T, K] -> [B * G, H, size, K], the last group filled up with zeros."""
    groups = -(-x.shape[2] // size)
    x = F.pad(x, (0, 0, 0, groups * size - x.shape[2])).unflatten(2, (groups, size))
    return x.transpose(1, 2).flatten(0, 1)
