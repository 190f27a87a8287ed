"""The delta rules as Triton kernels, forward and backward, for a GPU or Triton's interpreter.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length. What comes from outside or goes there lies in memory as [B, T, H, D], as models want it.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.delta_rule.triton_backward import (
    carry_gradients,
    correct,
    grade_channels,
    grade_decays,
    grade_pairs,
    grade_rows,
    grade_values,
)
from nas.kernels.delta_rule.triton_forward import (
    carry_delta_states,
    invert,
    pair_channels,
    pair_rows,
    prepare_keys,
    prepare_values,
    read_states,
)

_TRITON_DELTA_CHUNK = 64
_DELTA_LEAST = 16
"""A matrix unit takes no block that is smaller; also the rows among which a decay per channel is
split half way."""


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``S_t = (I - beta_t k_t k_t^T) diag(exp(g_t)) S_{t-1} + beta_t k_t v_t^T``, o_t = S_t^T q_t.

    log_decay broadcasts to [B, H, T, K], or with one decay for all channels to [B, H, T]; the rest
    is as in the plain torch forms of the two ops.
    """
    wide = torch.promote_types(v.dtype, torch.float32)
    heads_and_times = q.shape[:3]
    decays = q.shape if log_decay.ndim == 4 else heads_and_times
    q, k = ((x.to(wide) if x.dtype == torch.float64 else x) for x in (q, k))
    log_decay = log_decay.to(wide).expand(decays)
    beta = beta.to(wide).expand(heads_and_times)
    state = None if state is None else state.to(wide)
    o, states = _DeltaRule.apply(q, k, v, log_decay, beta, state)  # type: ignore[no-untyped-call]
    return o, states


@dataclass(frozen=True)
class _DeltaSizes:
    """What the kernels are compiled for, and how much of it there is."""

    batch: int
    heads: int
    time: int
    key_dim: int
    value_dim: int
    wide: torch.dtype
    """What sums are held in."""
    channel: bool
    """Whether each key channel has a decay of its own."""

    @property
    def chunk(self) -> int:
        """Hardly more rows than key channels: more would be coupled ever more strongly, which costs
        digits, and would take longer than the states that they save.

        Does not depend on how many lines there are, so that neither do results.
        """
        return _delta_block(min(self.time, self.key_dim), _TRITON_DELTA_CHUNK)

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.time, self.chunk)

    @property
    def lines(self) -> int:
        return self.batch * self.heads

    @property
    def tokens(self) -> int:
        return self.lines * self.time

    @property
    def precision(self) -> str:
        """Of products of float32: as good as float32 itself, though on matrix units."""
        return "tf32x3" if self.wide == torch.float32 else "ieee"

    def empty(self, *shape: int, like: Tensor) -> Tensor:
        return like.new_empty(shape, dtype=self.wide)

    def rows(self, width: int, *, like: Tensor) -> Tensor:
        """Room for a row of each token, kept between kernels."""
        return self.empty(self.lines, self.time, width, like=like)


def _delta_block(size: int, most: int) -> int:
    return max(_DELTA_LEAST, min(most, triton.next_power_of_2(size)))


def _time_first(x: Tensor) -> Tensor:
    """The same [B, H, T, ...], in memory as [B, T, H, ...]; most often it already is."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor of the shape of x [B, H, T, ...], in memory as [B, T, H, ...]."""
    return torch.empty_like(x.transpose(1, 2), dtype=dtype).transpose(1, 2)


def _parts(count: int, beta: Tensor) -> Tensor:
    """Room for parts of a sum, each [B, H, T] in memory as [B, T, H]; torch adds them up."""
    return beta.new_empty(count, *beta.transpose(1, 2).shape).transpose(2, 3)


def _pairs(s: _DeltaSizes, q: Tensor, k: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Decayed q k^T and k k^T of each chunk, [L, T, C]."""
    scores, alike = (s.rows(s.chunk, like=q) for _ in range(2))
    tensors = (q, k, log_decay, scores, alike, s.heads, s.time, s.key_dim)
    block = _delta_block(s.key_dim, 32)
    if s.channel:
        pair_channels[s.lines * s.chunks, s.chunk // _DELTA_LEAST](
            *tensors,
            chunk=s.chunk,
            part=_DELTA_LEAST,
            block=block,
            precision=s.precision,
            num_warps=4,
        )
    else:
        pair_rows[s.lines * s.chunks,](
            *tensors, chunk=s.chunk, block=block, precision=s.precision, num_warps=4
        )
    return scores, alike


def _invert(s: _DeltaSizes, alike: Tensor, beta: Tensor) -> Tensor:
    inverse = torch.empty_like(alike)
    invert[s.lines * s.chunks,](
        alike, beta, inverse, s.heads, s.time,
        chunk=s.chunk, levels=s.chunk.bit_length() - 1, precision=s.precision, num_warps=8,
    )  # fmt: skip
    return inverse


def _prepare_keys(
    s: _DeltaSizes, q: Tensor | None, k: Tensor, log_decay: Tensor, beta: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """erase, write and ask [L, T, K], the latter only with q, and fade [L, N, K]."""
    erase, write = s.rows(s.key_dim, like=k), s.rows(s.key_dim, like=k)
    ask = None if q is None else torch.empty_like(erase)
    fade = s.empty(s.lines, s.chunks, s.key_dim, like=k)
    block = _delta_block(s.key_dim, 32)
    prepare_keys[s.lines * s.chunks, triton.cdiv(s.key_dim, block)](
        q, k, log_decay, beta, inverse, erase, write, ask, fade, s.heads, s.time, s.key_dim,
        chunk=s.chunk, block=block, channel=s.channel, precision=s.precision,
        num_warps=4,
    )  # fmt: skip
    return erase, write, ask, fade


def _delta_carry(
    s: _DeltaSizes, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, inverse: Tensor,
    state: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """All states [L, N + 1, K, V] and the corrections [L, T, V]."""
    erase, write, _, fade = _prepare_keys(s, None, k, log_decay, beta, inverse)
    wanted = s.rows(s.value_dim, like=v)
    corrections = torch.empty_like(wanted)
    states = s.empty(s.lines, s.chunks + 1, s.key_dim, s.value_dim, like=v)
    block = _delta_block(s.value_dim, 32)
    prepare_values[s.lines * s.chunks, triton.cdiv(s.value_dim, block)](
        v, beta, inverse, wanted, s.heads, s.time, s.value_dim,
        chunk=s.chunk, block=block, precision=s.precision, num_warps=4,
    )  # fmt: skip
    carry_delta_states[s.lines, triton.cdiv(s.value_dim, _DELTA_LEAST)](
        state, wanted, erase, write, fade, states, corrections, s.time, s.key_dim, s.value_dim,
        chunk=s.chunk, precision=s.precision, **_loop(s),
    )  # fmt: skip
    return states, corrections


def _loop(s: _DeltaSizes) -> dict[str, int]:
    """The tile of the state that a program of the loop over chunks keeps in registers, and how it
    runs.

    All of K, since it is summed over; few columns, since only they make programs beside lines. For
    wide K more warps share it, and the next chunk is not loaded ahead: registers would run out.
    """
    block_k = _delta_block(s.key_dim, s.key_dim * 2)
    run = {"num_warps": 4, "num_stages": 3} if block_k <= 64 else {"num_warps": 8, "num_stages": 1}
    return {"block_k": block_k, "block_v": _DELTA_LEAST, **run}


def _read(
    s: _DeltaSizes, q: Tensor, v: Tensor, log_decay: Tensor, scores: Tensor, corrections: Tensor,
    states: Tensor,
) -> Tensor:  # fmt: skip
    o = _like(v)
    block_k, block_v = _delta_block(s.key_dim, 32), _delta_block(s.value_dim, 64)
    read_states[s.lines * s.chunks, triton.cdiv(s.value_dim, block_v)](
        q, log_decay, scores, corrections, states, o, s.heads, s.time, s.key_dim, s.value_dim,
        chunk=s.chunk, block_k=block_k, block_v=block_v, channel=s.channel, precision=s.precision,
        num_warps=4,
    )  # fmt: skip
    return o


def _carry_back(
    s: _DeltaSizes, saved: tuple[Tensor, ...], scores: Tensor, do: Tensor, dlast: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The corrections again [L, T, V], and the gradients of them, of the state after each chunk
    [L, N, K, V] and of the first state."""
    q, k, v, log_decay, beta, inverse, states = saved
    erase, write, ask, fade = _prepare_keys(s, q, k, log_decay, beta, inverse)
    corrections, local, dcorrections = (s.rows(s.value_dim, like=v) for _ in range(3))
    block_k, block_v = _delta_block(s.key_dim, 32), _delta_block(s.value_dim, 32)
    correct[s.lines * s.chunks, triton.cdiv(s.value_dim, block_v)](
        v, do, beta, inverse, scores, erase, states, corrections, local,
        s.heads, s.time, s.key_dim, s.value_dim,
        chunk=s.chunk, block_k=block_k, block_v=block_v, precision=s.precision,
        num_warps=4,
    )  # fmt: skip
    dstates = s.empty(s.lines, s.chunks, s.key_dim, s.value_dim, like=v)
    dinitial = s.empty(s.batch, s.heads, s.key_dim, s.value_dim, like=v)
    carry_gradients[s.lines, triton.cdiv(s.value_dim, _DELTA_LEAST)](
        dlast, do, erase, write, ask, fade, local, dstates, dcorrections, dinitial,
        s.heads, s.time, s.key_dim, s.value_dim,
        chunk=s.chunk, precision=s.precision, **_loop(s),
    )  # fmt: skip
    return corrections, dcorrections, dstates, dinitial


def _delta_grade(
    s: _DeltaSizes, saved: tuple[Tensor, ...], pairs: tuple[Tensor, Tensor], do: Tensor,
    corrections: Tensor, dcorrections: Tensor, dstates: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of q, k, v, log_decay and beta."""
    q, k, v, log_decay, beta, inverse, states = saved
    block_k, block_v = (
        _delta_block(s.key_dim, 32 if s.channel else 16),
        _delta_block(s.value_dim, 32),
    )
    blocks_k, blocks_v = triton.cdiv(s.key_dim, block_k), triton.cdiv(s.value_dim, block_v)
    dq, dk, dv = _like(q), _like(k), _like(v)
    dbeta = _parts(blocks_v + 1 + blocks_k, beta)
    solved = torch.empty_like(corrections)
    grade_values[s.lines * s.chunks, blocks_v](
        v, beta, inverse, dcorrections, solved, dv, dbeta, s.heads, s.time, s.value_dim, s.tokens,
        chunk=s.chunk, block=block_v, precision=s.precision, num_warps=4,
    )  # fmt: skip
    dscores, dalike = (torch.empty_like(x) for x in pairs)
    parts = None if s.channel else _parts(1 + blocks_k, beta)
    grade_pairs[s.lines * s.chunks,](
        do, solved, corrections, beta, log_decay, *pairs, dscores, dalike, dbeta[blocks_v], parts,
        s.heads, s.time, s.value_dim,
        chunk=s.chunk, block=_DELTA_LEAST, channel=s.channel, precision=s.precision,
        num_warps=4,
    )  # fmt: skip
    given = (
        q, k, log_decay, beta, do, solved, corrections, states, dstates, dscores, dalike, dq, dk,
    )  # fmt: skip
    sizes = (s.heads, s.time, s.key_dim, s.value_dim)
    if parts is None:
        dsums, dg = s.rows(s.key_dim, like=k), _like(log_decay)
        grade_channels[s.lines * s.chunks, s.chunk // _DELTA_LEAST * blocks_k](
            *given, dsums, dbeta[blocks_v + 1 :], *sizes, s.tokens, blocks_k,
            chunk=s.chunk, part=_DELTA_LEAST, block_k=block_k, block_v=block_v,
            precision=s.precision, num_warps=8,
        )  # fmt: skip
        grade_decays[s.lines * s.chunks, blocks_k](
            dsums, states, dstates, dg, *sizes,
            chunk=s.chunk, block_k=block_k, block_v=block_v, num_warps=4,
        )  # fmt: skip
    else:
        grade_rows[s.lines * s.chunks, blocks_k](
            *given, parts[1:], dbeta[blocks_v + 1 :], *sizes, s.tokens,
                chunk=s.chunk, block_k=block_k, block_v=block_v, precision=s.precision,
            num_warps=8,
        )  # fmt: skip
        dg = parts.sum(dim=0)
    return dq, dk, dv, dg, dbeta.sum(dim=0)


class _DeltaRule(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        q, k, v, log_decay, beta = (_time_first(x) for x in (q, k, v, log_decay, beta))
        state = None if state is None else state.contiguous()
        batch, heads, time, key_dim = q.shape
        channel = log_decay.ndim == 4
        s = _DeltaSizes(batch, heads, time, key_dim, v.shape[3], beta.dtype, channel)
        scores, alike = _pairs(s, q, k, log_decay)
        inverse = _invert(s, alike, beta)
        states, corrections = _delta_carry(s, k, v, log_decay, beta, inverse, state)
        o = _read(s, q, v, log_decay, scores, corrections, states)
        ctx.save_for_backward(q, k, v, log_decay, beta, inverse, states)
        ctx.sizes = s
        last = states[:, -1].view(s.batch, s.heads, s.key_dim, s.value_dim)
        return o, last.clone()  # not a view: that would keep all states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        s: _DeltaSizes = ctx.sizes
        do, dlast = _time_first(do), dlast.contiguous()
        pairs = _pairs(s, saved[0], saved[1], saved[3])
        corrections, dcorrections, dstates, dinitial = _carry_back(s, saved, pairs[0], do, dlast)
        grads = _delta_grade(s, saved, pairs, do, corrections, dcorrections, dstates)
        return *grads, dinitial if ctx.needs_input_grad[5] else None
