"""Gated attention inside chunks over a smoothed sequence (arXiv 2209.10655, 2312.05605).

B batch, T time, D width, K and V key and value widths, N states of a channel, C chunk
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.long_conv.api import long_conv
from nas.search_spaces.pieces.carried.module import Carried


class DampedEma(nn.Module):
    """Damped moving averages of each channel at N rates, and their weighted sum.

    h_t = p β x_t + (1 - p d) h_{t-1},  y_t = Σ_n η_n h_{t,n} / sqrt(N): [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, states: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(0.2 * torch.randn(dim, states))
        self.damping = nn.Parameter(0.2 * torch.randn(dim, states))
        signs = 1 - 2.0 * (torch.arange(states) % 2)  # averages of opposite sign do not add up
        self.write = nn.Parameter(signs + 0.02 * torch.randn(dim, states))
        self.read = nn.Parameter(torch.randn(dim, states))

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)  # long memories need fine numbers
        rate = self.rate.to(exact).sigmoid()
        keep = 1 - rate * self.damping.to(exact).sigmoid()  # [D, N]
        write = rate * self.write.to(exact)
        read = self.read.to(exact) * keep.shape[1] ** -0.5
        inputs = x.mT.to(exact)  # [B, D, T]
        if state is None:
            return ema_from_start(inputs, keep, write, read).mT.to(x.dtype)
        before = state.get("averages")
        if before is None:
            before = inputs.new_zeros(len(x), *keep.shape)  # [B, D, N]
        run = ema_step if x.shape[1] == 1 else ema_continued
        y, state.tensors["averages"] = run(inputs, keep, write, read, before)
        return y.mT.to(x.dtype)


def ema_from_start(x: Tensor, keep: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """The weighted sum of the averages of x [B, D, T], as one convolution: [B, D, T]"""
    return long_conv(x, ((read * write)[:, :, None] * ema_fading(keep, x.shape[2])).sum(1))


def ema_fading(keep: Tensor, time: int) -> Tensor:
    """What is left of a value after 0, 1, ... steps: [D, N, T]"""
    return keep[:, :, None] ** torch.arange(time, device=keep.device)


def ema_step(
    x: Tensor, keep: Tensor, write: Tensor, read: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """Of one token x [B, D, 1] after the averages [B, D, N]: the sum [B, D, 1], the averages."""
    after = keep * before + write * x
    return (read * after).sum(2, keepdim=True), after


def ema_continued(
    x: Tensor, keep: Tensor, write: Tensor, read: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """Of tokens x [B, D, T] after the averages [B, D, N]: the sums [B, D, T], the averages."""
    y = ema_from_start(x, keep, write, read)
    fading = ema_fading(keep, x.shape[2])
    last: list[Tensor] = []
    # one average after another: all at once would take N times the memory of x
    for faded, start in zip(fading.unbind(1), (keep * before).unbind(2), strict=True):
        left = start[:, :, None] * faded  # [B, D, T]
        y = y + read[:, len(last), None] * left
        written = write[:, len(last), None] * x * faded.flip(1)
        last.append(left[:, :, -1] + written.sum(2))
    return y, torch.stack(last, dim=2)


class EmaBothWays(nn.Module):
    """Averages of the tokens up to each token and of those from it on: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.after = after

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        return self.before(x) + self.after(x.flip(1)).flip(1)


class SmoothedEma(nn.Module):
    """silu(averages + skip ⊙ x): [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, averages: nn.Module) -> None:
        super().__init__()
        self.averages = averages
        self.skip = nn.Parameter(torch.randn(dim))

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        return F.silu(self.averages(x, state) + self.skip * x)


class ChunkAttention(nn.Module):
    """Softmax attention to the tokens of the same chunk up to the query's own.

    q and k [B, T, K], v [B, T, V] -> [B, T, V]; the state holds the last, unfinished chunk.
    """

    def __init__(self, *, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.bias = nn.Parameter(torch.zeros(chunk))  # of the scores, by distance

    def forward(self, q: Tensor, k: Tensor, v: Tensor, state: Carried | None = None) -> Tensor:
        time = q.shape[1]
        q = q * q.shape[2] ** -0.5
        start = 0  # tokens of the chunk in which the first query stands that came before it
        if state is not None:
            start = state.length % self.chunk
            k = self.with_chunk(k, "keys", start, state)
            v = self.with_chunk(v, "values", start, state)
        if time == 1:
            return (q @ k.mT + self.bias[: k.shape[1]].flip(0)).softmax(dim=-1) @ v
        q = F.pad(q, (0, 0, start, 0))
        length = min(self.chunk, start + time)
        q, k, v = (into_chunks(x, length) for x in (q, k, v))  # [B, chunks, C, K or V]
        y = (q @ k.mT + self.bias_inside(length)).softmax(dim=-1) @ v
        return y.flatten(1, 2)[:, start : start + time]

    def bias_inside(self, length: int) -> Tensor:
        """[C, C], minus infinity for later tokens"""
        place = torch.arange(length, device=self.bias.device)
        back = place[:, None] - place
        return self.bias[back.clamp(min=0)].masked_fill(back < 0, -torch.inf)

    def with_chunk(self, x: Tensor, name: str, start: int, state: Carried) -> Tensor:
        """x after the `start` tokens of its chunk that came before; keeps the chunk it ends in."""
        held = state.get(name)
        if held is not None and start > 0:
            x = torch.cat((held[:, :start], x), dim=1)
        last = x[:, x.shape[1] // self.chunk * self.chunk :]
        state.tensors[name] = F.pad(last, (0, 0, 0, self.chunk - last.shape[1]))
        return x


class ChunkAttentionBothWays(nn.Module):
    """Softmax attention to all tokens of the same chunk: [B, T, K or V] -> [B, T, V]"""

    def __init__(self, *, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.bias = nn.Parameter(torch.zeros(2 * chunk - 1))  # of the scores, by signed distance

    def forward(self, q: Tensor, k: Tensor, v: Tensor, state: None = None) -> Tensor:
        time = q.shape[1]
        length = min(self.chunk, time)
        place = torch.arange(length, device=q.device)
        bias = self.bias[place[:, None] - place + self.chunk - 1]
        real = into_chunks(torch.ones_like(q[:1, :, :1], dtype=torch.bool), length)
        q, k, v = (into_chunks(x, length) for x in (q * q.shape[2] ** -0.5, k, v))
        scores = (q @ k.mT + bias).masked_fill(~real.mT, -torch.inf)
        return (scores.softmax(dim=-1) @ v).flatten(1, 2)[:, :time]


def into_chunks(x: Tensor, length: int) -> Tensor:
    """[B, T, K] -> [B, chunks, length, K], filled up with zeros"""
    return F.pad(x, (0, 0, 0, -x.shape[1] % length)).unflatten(1, (-1, length))


class ChunkedConvAttention(nn.Module):
    """Attention inside chunks and gates, both steered by a sequence that `smooth` made.

    [B, T, D] -> [B, T, D]
    """

    def __init__(
        self, *, dim: int, key_dim: int, value_dim: int, smooth: nn.Module, attend: nn.Module
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.attend = attend
        self.shared = nn.Linear(dim, key_dim)
        self.query_scale = nn.Parameter(torch.ones(key_dim))
        self.query_shift = nn.Parameter(torch.zeros(key_dim))
        self.key_scale = nn.Parameter(torch.ones(key_dim))
        self.value = nn.Linear(dim, value_dim)
        self.reset = nn.Linear(dim, value_dim)
        self.update = nn.Linear(dim, dim)
        self.candidate = nn.Linear(dim, dim)
        self.attended = nn.Linear(value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        smooth = self.smooth(x, state)
        shared = F.silu(self.shared(smooth))
        # a shift of the keys would move all scores of a query alike
        q, k = shared * self.query_scale + self.query_shift, shared * self.key_scale
        attended = self.attend(q, k, F.silu(self.value(x)), state)  # [B, T, V]
        if state is not None:
            state.length += x.shape[1]
        reset, update = F.silu(self.reset(smooth)), self.update(smooth).sigmoid()
        candidate = F.silu(self.candidate(smooth) + self.attended(reset * attended))
        return update * (candidate - x)
