"""Linear attention with a learned weight for each distance, by FFT (arXiv 2106.12566).

B batch, T time, S keys seen, D width, H heads, K head width, F features, V value width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.pieces.attend.module import KeyValueCache

SMALLEST_SUM = 1e-6  # added to a sum of weights, all of which may be zero


class KernelisedRelative(nn.Module):
    """The weight of a key is phi(q)·phi(k) times exp(b) of its distance: [B, T, D] -> [B, T, D].

    A token sees those before it. For each feature and value channel, the sum over keys is a
    convolution along time, so that the work of a whole sequence grows with T log T.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        value_dim: int,
        max_tokens: int,
        length: nn.Module,
        feature_map: nn.Module,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.value_dim = value_dim
        self.max_tokens = max_tokens
        self.length = length
        self.feature_map = feature_map
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(heads, max_tokens))  # by how far back a key is
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> KeyValueCache:
        """Features of keys, and values; each distance has a weight of its own, so all are kept."""
        return KeyValueCache()

    def forward(self, x: Tensor, state: KeyValueCache | None = None) -> Tensor:
        start = 0 if state is None else state.length
        q, k, v = self.project(x, start)
        if state is not None:
            keys, values = state.append(k, v)  # [B, H, S, F], [B, H, S, V]
        if state is None or (start == 0 and x.shape[1] > 1):
            o = self.convolved(q, k, v)
        else:
            o = self.paired(q, keys, values)
        return self.out(o.to(x.dtype).transpose(1, 2).flatten(2))

    def project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features of queries and keys [B, H, T, F], and values [B, H, T, V]."""
        if start + x.shape[1] > self.max_tokens:
            raise ValueError(
                f"{start + x.shape[1]} tokens, but only {self.max_tokens} distances have a weight"
            )
        q = self.length(split_heads(self.query(x), self.head_dim))
        k = self.length(split_heads(self.key(x), self.head_dim))
        q, k = self.feature_map(q, k, start)
        v = split_heads(self.value(x), self.value_dim)
        dtype = torch.promote_types(x.dtype, torch.float32)  # transforms have no lower precision
        return q.to(dtype), k.to(dtype), v.to(dtype)

    def convolved(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """All tokens at once: [B, H, T, V]"""
        weights = self.bias[:, : q.shape[2]].to(q.dtype).exp()  # [H, T]
        sums = along_time(outer_products(k, v), weights)
        return divided(read(q, sums))

    def paired(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """A few new queries against all keys kept: [B, H, T, V]"""
        end, new = k.shape[2], q.shape[2]
        row = torch.arange(end - new, end, device=q.device)[:, None]
        back = row - torch.arange(end, device=q.device)  # [T, S]
        weights = self.bias.to(q.dtype).exp()[:, back.clamp_min(0)].masked_fill(back < 0, 0.0)
        weights = (q @ k.mT) * weights  # [B, H, T, S]
        return (weights @ v) / (weights.sum(-1, keepdim=True) + SMALLEST_SUM)


class TwoWayKernelisedRelative(KernelisedRelative):
    """The same, but a token sees all tokens, with weights for both directions."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        heads, max_tokens = self.bias.shape
        self.bias = nn.Parameter(
            torch.zeros(heads, 2 * max_tokens - 1)
        )  # the own place in the middle

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        q, k, v = self.project(x, 0)
        time = x.shape[1]
        # from `time - 1` tokens ahead to as many back
        near = self.bias[:, self.max_tokens - time : self.max_tokens + time - 1]
        sums = along_time(outer_products(k, v), near.to(q.dtype).exp(), ahead=time - 1)
        o = divided(read(q, sums))
        return self.out(o.to(x.dtype).transpose(1, 2).flatten(2))


def outer_products(k: Tensor, v: Tensor) -> Tensor:
    """Of features of keys and values, and a one for the sum of the weights: [B, H, T, F, V + 1]"""
    return k[..., None] * F.pad(v, (0, 1), value=1.0)[..., None, :]


def along_time(x: Tensor, weights: Tensor, ahead: int = 0) -> Tensor:
    """sum_s weights[t - s + ahead] x_s for x [B, H, T, F, V] and weights [H, distances]."""
    time = x.shape[2]
    size = time + weights.shape[-1]  # no end runs into the other
    spectrum = torch.fft.rfft(weights, n=size)[:, :, None, None]  # [H, frequencies, 1, 1]
    product = torch.fft.rfft(x, n=size, dim=2) * spectrum
    return torch.fft.irfft(product, n=size, dim=2)[:, :, ahead : ahead + time]


def read(q: Tensor, sums: Tensor) -> Tensor:
    """Each query [B, H, T, F] from sums of its own [B, H, T, F, V]: [B, H, T, V]"""
    return (q[..., None, :] @ sums).squeeze(-2)


def divided(o: Tensor) -> Tensor:
    """By the last column, the sum of the weights: [B, H, T, V + 1] -> [B, H, T, V]"""
    # the rounding of a transform may leave a sum of zeros below zero
    return o[..., :-1] / (o[..., -1:].clamp_min(0.0) + SMALLEST_SUM)
