"""Attention to vector-quantised keys, gated against a smoothed input (arXiv 2404.11163).

B batch, T time, D width, S key width, V value width, K codes, N chunks, C chunk length, R keys of
a chunk. One head.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.gated_unit.module import split_chunks
from nas.search_spaces.pieces.carried.module import Carried


class VectorQuantisedAttention(nn.Module):
    """Softmax attention in linear time: keys of earlier chunks are known by their code only.

    Queries, keys and gates come from a context of each token; a gate mixes what is found with the
    context: [B, T, D] -> [B, T, D].
    """

    def __init__(
        self,
        *,
        dim: int,
        hidden: int,
        key_dim: int,
        context: nn.Module,
        quantiser: nn.Module,
        attend: nn.Module,
    ) -> None:
        super().__init__()
        self.context = context
        self.quantiser = quantiser
        self.attend = attend
        self.shared = nn.Linear(dim, key_dim, bias=False)
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(2, key_dim))  # of queries and of keys
        self.offset = nn.Parameter(torch.zeros(2, key_dim))
        self.value = nn.Linear(dim, hidden, bias=False)
        self.reset = nn.Linear(dim, hidden, bias=False)
        self.candidate = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(hidden, dim, bias=False)
        self.update = nn.Linear(dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        start = 0 if state is None else state.length
        context = self.context(x, state)  # [B, T, D]
        z = self.shared(context)
        z = F.layer_norm(F.silu(z), z.shape[-1:])  # as wide as the codes start out
        q, k = (z[..., None, :] * self.scale + self.offset).unbind(-2)  # [B, T, S]
        k, codes = self.quantiser(k)  # [B, T, S], [B, T, K]
        v = F.silu(self.value(x))  # [B, T, V]
        o = self.attend(q, k, codes, v, self.quantiser.codebook, start, state).to(x.dtype)
        found = F.silu(self.candidate(context) + self.out(F.silu(self.reset(context)) * o))
        if state is not None:
            state.length += x.shape[1]
        gate = self.update(context).sigmoid()
        return gate * found + (1 - gate) * context


class Quantiser(nn.Module):
    """Replaces k [B, T, S] by the nearest code of a codebook [K, S], and says which it is.

    The gradient passes a code as if it were the key. `balance_loss` draws each code to its keys,
    and by `commitment` each key to its code.
    """

    def __init__(self, *, codes: int, key_dim: int, commitment: float) -> None:
        super().__init__()
        self.commitment = commitment
        self.codebook = nn.Parameter(torch.randn(codes, key_dim))
        self.balance_loss: Tensor | float = 0.0

    def forward(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """The codes in place of k, with its gradient; and which code it is, as [B, T, K]."""
        with torch.no_grad():  # the nearest has the largest k.c - |c|^2 / 2
            nearness = k @ self.codebook.mT - self.codebook.square().sum(-1) / 2
            nearest = nearness.argmax(-1)  # [B, T]
        code = F.embedding(nearest, self.codebook)
        to_keys = (code - k.detach()).float().square().mean()
        to_codes = (k - code.detach()).float().square().mean()
        self.balance_loss = to_keys + self.commitment * to_codes
        return code + k - k.detach(), F.one_hot(nearest, len(self.codebook))


class ChunkAndCodes(nn.Module):
    """Softmax over the keys of the present chunk up to the query, one by one and with a bias for
    the distance, and over those of earlier chunks, summed up by code.

    q, k [B, T, S], which code each key is [B, T, K] and v [B, T, V] -> [B, T, V]. The state is the
    present chunk, and for each code the sum of its values and their number, over all tokens and
    over those of complete chunks.
    """

    def __init__(self, *, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.bias = nn.Parameter(torch.zeros(chunk))  # by how far back a key is

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        codes: Tensor,
        v: Tensor,
        codebook: Tensor,
        start: int,
        state: Carried | None,
    ) -> Tensor:
        state = Carried() if state is None else state
        q, k, codes, v, codebook = in_full(q, k, codes, v, codebook)
        v = F.pad(v, (0, 1), value=1.0)  # the ones count keys and sum up weights
        filled, new = start % self.chunk, q.shape[1]  # tokens of this chunk that came before; T
        keys = self.continued(k, filled, state, "chunk_keys")  # [B, filled + T, S]
        values = self.continued(v, filled, state, "chunk_values")
        if filled + new <= self.chunk:
            q, codes, v, keys, values = (x[:, None] for x in (q, codes, v, keys, values))
            before = self.sums(codes, v, filled, state)
            return join_softmax(self.near(q, keys), q @ codebook.mT, values, before)[:, 0]
        q, codes, v = (F.pad(x, (0, 0, filled, 0)) for x in (q, codes, v))
        q, codes, v, keys, values = (
            split_chunks(x, self.chunk) for x in (q, codes, v, keys, values)
        )
        before = self.sums(codes, v, filled, state)
        o = join_softmax(self.near(q, keys), q @ codebook.mT, values, before)
        return o.flatten(1, 2)[:, filled : filled + new]

    def sums(self, codes: Tensor, v: Tensor, filled: int, state: Carried) -> Tensor:
        """For each code, over the complete chunks before each chunk: [B, N, K, V + 1]"""
        # one token is written without a matrix product
        writes = codes.mT * v if v.shape[2] == 1 else codes.mT @ v
        writes = writes.to(v.dtype)
        total = state.get("total")
        total = torch.zeros_like(writes[:, 0]) if total is None else total
        complete = state.tensors["complete"] if filled else total
        after = total[:, None] + writes.cumsum(1)
        before = torch.cat((complete[:, None], after[:, :-1]), dim=1)
        state.tensors |= {"total": after[:, -1].clone(), "complete": before[:, -1].clone()}
        return before

    def continued(self, x: Tensor, filled: int, state: Carried, name: str) -> Tensor:
        """x after those before it in its chunk; the state keeps room for one chunk."""
        if filled:
            x = torch.cat((state.tensors[name][:, :filled], x), dim=1)
        rest = x.shape[1] % self.chunk
        state.tensors[name] = F.pad(x[:, x.shape[1] - rest :], (0, 0, 0, self.chunk - rest))
        return x

    def near(self, q: Tensor, k: Tensor) -> Tensor:
        """Scores inside a chunk, whose last key is that of the last query: [B, N, T, R]"""
        row = torch.arange(k.shape[2] - q.shape[2], k.shape[2], device=q.device)[:, None]
        back = row - torch.arange(k.shape[2], device=q.device)
        bias = self.bias.to(q.dtype)[back.clamp_min(0)]
        return (q @ k.mT + bias).masked_fill(back < 0, -torch.inf)


class TwoWayChunkAndCodes(nn.Module):
    """The same, but over all keys of the own chunk, and over those of all other chunks by code."""

    def __init__(self, *, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.bias = nn.Parameter(torch.zeros(2 * chunk - 1))  # the own place in the middle

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        codes: Tensor,
        v: Tensor,
        codebook: Tensor,
        start: int,
        state: Carried | None,
    ) -> Tensor:
        q, k, codes, v, codebook = in_full(q, k, codes, v, codebook)
        time, chunk = q.shape[1], min(q.shape[1], self.chunk)
        v = F.pad(v, (0, 1), value=1.0)
        q, k, codes, v = (split_chunks(x, chunk) for x in (q, k, codes, v))
        own = (codes.mT @ v).to(v.dtype)  # [B, N, K, V + 1]
        others = own.sum(1, keepdim=True) - own
        place = torch.arange(chunk, device=q.device)
        bias = self.bias.to(q.dtype)[place[:, None] - place + self.chunk - 1]
        o = join_softmax(q @ k.mT + bias, q @ codebook.mT, v, others)
        return o.flatten(1, 2)[:, :time]


def in_full(q: Tensor, k: Tensor, codes: Tensor, v: Tensor, codebook: Tensor) -> list[Tensor]:
    """Scaled queries and the rest, in float32 at least: exponentials and counts need it."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    return [x.to(dtype) for x in (q * q.shape[-1] ** -0.5, k, codes, v, codebook)]


def join_softmax(near: Tensor, far: Tensor, values: Tensor, sums: Tensor) -> Tensor:
    """One softmax over keys, and over codes that stand for as many keys as the sums count.

    near [B, N, T, R] and far [B, N, T, K] are scores; values [B, N, R, V + 1] and sums
    [B, N, K, V + 1] end with counts. Returns [B, N, T, V].
    """
    unused = sums[..., -1] < 0.5  # counts are whole but for rounding
    far = far.masked_fill(unused[..., None, :], -torch.inf)
    top = torch.maximum(near.amax(-1, keepdim=True), far.amax(-1, keepdim=True)).detach()
    o = (near - top).exp() @ values + (far - top).exp() @ sums
    return o[..., :-1] / o[..., -1:]


class DampedAverage(nn.Module):
    """Several damped moving averages of each channel, added up (arXiv 2209.10655).

    The averages follow h_t = (1 - a d) h_{t-1} + x_t with a, d between 0 and 1.
    """

    def __init__(self, *, dim: int, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, states))
        self.damping = nn.Parameter(torch.randn(dim, states))
        self.expand = nn.Parameter(torch.randn(dim, states) * 0.02 + 1)
        self.gather = nn.Parameter(torch.randn(dim, states) * states**-0.5)
        self.skip = nn.Parameter(torch.ones(dim))

    def poles(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Logarithms of the factors by which the averages fade, and their weights: [D, N] each."""
        weight, damping = self.weight.to(dtype).sigmoid(), self.damping.to(dtype).sigmoid()
        return torch.log1p(-weight * damping), weight * self.expand.to(dtype) * self.gather.to(
            dtype
        )


class DiagonalStateSpace(nn.Module):
    """A diagonal state-space model for each channel (S4D, arXiv 2206.11893), held by zero order."""

    def __init__(self, *, dim: int, states: int) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.empty(dim).uniform_(math.log(0.001), math.log(0.1)))
        self.log_fade = nn.Parameter(torch.full((dim, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).float().repeat(dim, 1))
        self.output = nn.Parameter(torch.randn(dim, states, 2) * 0.5**0.5)  # real and imaginary
        self.skip = nn.Parameter(torch.ones(dim))

    def poles(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Logarithms of the complex factors of the states, and their weights: [D, N] each."""
        rate = torch.complex(-self.log_fade.to(dtype).exp(), self.frequency.to(dtype))
        log_factor = rate * self.log_step.to(dtype).exp()[:, None]
        # each state stands for itself and its conjugate, hence the 2
        output = 2 * torch.view_as_complex(self.output.to(dtype))
        return log_factor, output * (log_factor.exp() - 1) / rate


class SmoothedContext(nn.Module):
    """silu of a sum of fading states of each channel, and the channel itself: [B, T, D] -> same."""

    def __init__(self, *, system: Any) -> None:
        super().__init__()
        self.system = system

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        log_factor, weight = self.system.poles(dtype)  # [D, N], real or complex
        x_full = x.to(dtype).mT  # [B, D, T]
        if state is not None and x.shape[1] == 1:
            h = x_full + log_factor.exp() * self.carried(state, x_full, log_factor)
            y = (weight * h).sum(-1, keepdim=True)
            state.tensors["context"] = torch.view_as_real(h) if h.is_complex() else h
        else:
            y = self.over_time(x_full, log_factor, weight, state)
        y = real_part(y).mT + self.system.skip.to(dtype) * x.to(dtype)
        return F.silu(y).to(x.dtype)

    def over_time(
        self, x: Tensor, log_factor: Tensor, weight: Tensor, state: Carried | None
    ) -> Tensor:
        """All tokens at once, by a convolution: [B, D, T]"""
        time = x.shape[2]
        step = torch.arange(time, device=x.device)
        powers = (log_factor[..., None] * step).exp()  # [D, N, T]
        kernel = real_part((weight[..., None] * powers).sum(1))  # [D, T]
        spectrum = torch.fft.rfft(x, n=2 * time) * torch.fft.rfft(kernel, n=2 * time)
        y = torch.fft.irfft(spectrum, n=2 * time)[..., :time]
        if state is None:
            return y
        h = log_factor.exp() * self.carried(state, x, log_factor)  # [B, D, N]
        y = y + real_part((weight * h)[..., None] * powers).sum(2)
        new = torch.einsum("bdt,dnt->bdn", x.to(powers.dtype), powers.flip(-1))
        h = h * powers[..., -1] + new
        state.tensors["context"] = torch.view_as_real(h) if h.is_complex() else h
        return y

    def carried(self, state: Carried, x: Tensor, log_factor: Tensor) -> Tensor:
        """The states before the first token: [B, D, N]"""
        h = state.get("context")
        if h is None:
            return log_factor.new_zeros(len(x), *log_factor.shape)
        return torch.view_as_complex(h) if log_factor.is_complex() else h


class TwoWayContext(nn.Module):
    """The context up to each token, plus the context from the end back to it."""

    def __init__(self, *, ahead: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.ahead = ahead
        self.back = back

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.ahead(x) + self.back(x.flip(1)).flip(1)


class NoContext(nn.Module):
    """Returns x as it is."""

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x


def real_part(x: Tensor) -> Tensor:
    """x, or its real part where it is complex."""
    return x.real if x.is_complex() else x
