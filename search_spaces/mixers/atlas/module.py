"""ATLAS (arXiv 2505.23735): a memory whose weights are fitted to the latest keys and values.

B batch, T time, D width, H heads, K key and V value width, F features of a key, N hidden units,
n tokens of a piece of a chunk, m = n + window - 1 tokens that their windows see
"""

from itertools import chain, combinations_with_replacement
from math import factorial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.mixers.gated_delta.module import unit_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.omega_step.module import Tensors, omega_band


class AtlasState:
    """The memory, what its optimiser remembers, and the tokens that the next window reaches."""

    def __init__(self) -> None:
        self.length = 0  # tokens seen
        self.latest: Tensor | None = None  # inputs of the convolution, [B, conv - 1, 3 * H * K]
        self.start: Tensors = ()  # the memory at the beginning of the chunk, [B, H, I, O] each
        self.moving: tuple[Tensors, ...] = ()  # of each matrix, itself and perhaps its momentum
        self.recent: Tensors = ()  # keys, values, weights of the last window - 1 tokens

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        held = chain(self.start, self.recent, *self.moving)
        latest = 0 if self.latest is None else self.latest[0].numel()
        return latest + sum(tensor[0].numel() for tensor in held)


class Atlas(nn.Module):
    """A memory that learns while it reads: [B, T, D] -> [B, T, D]

    At each token the weights of the memory take a step towards mapping the keys of the last
    `window` tokens to their values; then the query is put to it. All tokens of a `chunk` take their
    gradients where the memory was when the chunk began.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        window: int,
        chunk: int,
        conv: nn.Module,
        features: nn.Module,
        memory: nn.Module,
        step: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.window = window
        self.chunk = chunk
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.conv = conv
        self.features = features
        self.memory: Any = memory
        self.step: Any = step
        self.retain = nn.Linear(dim, heads)
        self.rate = nn.Linear(dim, heads)
        self.weight = nn.Linear(dim, heads)
        self.norm = RMSNorm(dim=head_dim)  # the same weights for each head
        self.output_gate = output_gate
        self.out = nn.Linear(heads * head_dim, dim, bias=False)
        with torch.no_grad():  # some heads keep for twenty steps, some for a thousand
            self.retain.bias.copy_(torch.linspace(3.0, 7.0, heads))

    def empty_state(self) -> AtlasState:
        """What decoding carries from token to token."""
        return AtlasState()

    def forward(self, x: Tensor, state: AtlasState | None = None) -> Tensor:
        state = AtlasState() if state is None else state
        qkv, state.latest = self.conv(self.qkv(x), state.latest)
        q, k, v = F.silu(qkv).chunk(3, dim=-1)
        q, k = unit_heads(q, self.head_dim), unit_heads(k, self.head_dim)
        o = self.memorise(q, k, split_heads(v, self.head_dim), self.gates(x), state)
        o = self.norm(o.to(x.dtype)).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))

    def gates(self, x: Tensor) -> Tensors:
        """gamma, log alpha, eta and what the step asks for, [B, H, T] each."""
        # in float32 at least: a factor near one decides how long the memory is
        dtype = torch.promote_types(x.dtype, torch.float32)
        # divided so that the steps of a whole chunk together cannot overshoot
        gamma = self.weight(x).to(dtype).sigmoid().mT / self.window
        eta = self.rate(x).to(dtype).sigmoid().mT / self.chunk
        log_alpha = F.logsigmoid(self.retain(x).to(dtype)).mT
        return gamma, log_alpha, eta, *self.step.gates(x)

    def memorise(
        self, q: Tensor, k: Tensor, v: Tensor, gates: Tensors, state: AtlasState
    ) -> Tensor:
        """Step and read at every token: q, k [B, H, T, K], v [B, H, T, V] -> [B, H, T, V]"""
        dtype = torch.promote_types(v.dtype, torch.float32)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        moving, recent = state.moving, state.recent
        start = state.start or tuple(weights for weights, *_ in moving)
        if not moving:
            start = self.memory.initial(q)
            moving = tuple(self.step.still(weights) for weights in start)
            recent = tuple(x.new_zeros(*x.shape[:2], self.window - 1, *x.shape[3:]) for x in (k, v))
            recent = (*recent, gates[0].new_zeros(*k.shape[:2], self.window - 1))
        outputs = []
        sizes = omega_pieces(state.length, q.shape[2], self.chunk)
        pieces = zip(*(x.split(sizes, dim=2) for x in (q, k, v, *gates)), strict=True)
        for query, key, value, gamma, *rates in pieces:
            if state.length % self.chunk == 0:
                start = tuple(weights for weights, *_ in moving)
            seen = [torch.cat(x, dim=2) for x in zip(recent, (key, value, gamma), strict=True)]
            recent = tuple(x[:, :, query.shape[2] :] for x in seen)
            schedule = self.step.schedule(omega_band(seen[2], self.window), *rates)
            q_features, k_features = self.features(query), self.features(seen[0])
            o, moving = self.memory(
                q_features, k_features, seen[1], start, moving, self.step, schedule
            )
            outputs.append(o)
            state.length += query.shape[2]
        state.start = start if self.chunk > 1 else ()
        # a slice would keep all that it was taken from alive
        state.recent = tuple(x.clone() for x in recent)
        state.moving = tuple(tuple(x.clone() for x in tensors) for tensors in moving)
        return torch.cat(outputs, dim=2)


def omega_pieces(length: int, time: int, chunk: int) -> list[int]:
    """Sizes of the pieces of `time` tokens after `length` others, none of which crosses a chunk."""
    first = min(time, chunk - length % chunk)
    whole, rest = divmod(time - first, chunk)
    return [first, *[chunk] * whole, *([rest] if rest else [])]


class UnitKey(nn.Module):
    """Keys as they are: K features."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class PolynomialKey(nn.Module):
    """All products of 1 to `degree` channels, of length one: [..., K] -> [..., F]"""

    def __init__(self, *, head_dim: int, degree: int) -> None:
        super().__init__()
        self.degree = degree
        for power in range(2, degree + 1):
            factors = torch.tensor([*combinations_with_replacement(range(head_dim), power)])
            self.register_buffer(f"factors{power}", factors.T.contiguous(), persistent=False)
        # a weight for each power, at first that of the exponential series
        self.series = nn.Parameter(torch.tensor([1 / factorial(n + 1) for n in range(degree)]))

    def forward(self, x: Tensor) -> Tensor:
        powers = [x]
        for power in range(2, self.degree + 1):
            powers.append(x[..., self.get_buffer(f"factors{power}")].prod(dim=-2))
        weighed = [a * p for a, p in zip(self.series.to(x.dtype).unbind(), powers, strict=True)]
        return F.normalize(torch.cat(weighed, dim=-1), dim=-1)


class MatrixMemory(nn.Module):
    """One matrix from features to values, at first zero."""

    def __init__(self, *, features: int, value_dim: int) -> None:
        super().__init__()
        self.features = features
        self.value_dim = value_dim

    def initial(self, q: Tensor) -> Tensors:
        """The weights before the first token, [B, H, F, V]."""
        return (q.new_zeros(*q.shape[:2], self.features, self.value_dim),)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        start: Tensors,
        moving: tuple[Tensors, ...],
        step: nn.Module,
        schedule: Tensors,
    ) -> tuple[Tensor, tuple[Tensors, ...]]:
        """q [B, H, n, F]; k [B, H, m, F], v [B, H, m, V] -> [B, H, n, V] and what moved."""
        (weights,) = start
        y, moved = step(q, k, k @ weights - v, moving[0], schedule)
        return y, (moved,)


class MLPMemory(nn.Module):
    """Two matrices with SiLU between them, which start from learned weights."""

    def __init__(self, *, heads: int, features: int, hidden: int, value_dim: int) -> None:
        super().__init__()
        self.enter = nn.Parameter(torch.randn(heads, features, hidden))  # for features of length 1
        self.leave = nn.Parameter(torch.randn(heads, hidden, value_dim) * hidden**-0.5)

    def initial(self, q: Tensor) -> Tensors:
        """The weights before the first token, [B, H, F, N] and [B, H, N, V]."""
        enter, leave = self.enter.to(q.dtype), self.leave.to(q.dtype)
        return enter.repeat(len(q), 1, 1, 1), leave.repeat(len(q), 1, 1, 1)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        start: Tensors,
        moving: tuple[Tensors, ...],
        step: nn.Module,
        schedule: Tensors,
    ) -> tuple[Tensor, tuple[Tensors, ...]]:
        """q [B, H, n, F]; k [B, H, m, F], v [B, H, m, V] -> [B, H, n, V] and what moved."""
        enter, leave = start
        entered = k @ enter  # [B, H, m, N]
        hidden, on = F.silu(entered), entered.sigmoid()
        error = hidden @ leave - v
        slope = on * (1 + entered * (1 - on))
        h, moved_enter = step(q, k, (error @ leave.mT) * slope, moving[0], schedule)
        y, moved_leave = step(F.silu(h), hidden, error, moving[1], schedule)
        return y, (moved_enter, moved_leave)
