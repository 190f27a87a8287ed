"""Linear attention as Triton kernels, forward and backward, for a GPU or Triton's interpreter.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.linear_attention.chunked import linear_attention as linear_attention_in_torch
from nas.kernels.linear_attention.triton_backward import grade_inputs
from nas.kernels.linear_attention.triton_forward import carry_linear_states, mix_values, sum_decays

_TRITON_LINEAR_CHUNK = 64
_LINEAR_LEAST = 16
"""A matrix unit takes no block that is smaller."""


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    choices: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Tensor, Tensor]:
    """``S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T`` and ``o_t = S_t^T q_t``.

    `choices` may hold, for the launches "carry", "mix" and "grade", (key channels, value channels,
    warps) of a tile instead of the defaults below.
    """
    if q.shape[2] == 1 or not q.numel():  # a step of the recurrence has nothing to cut into chunks
        return linear_attention_in_torch(q, k, v, log_decay, state)
    wide = torch.promote_types(v.dtype, torch.float32)
    narrow = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    if narrow == torch.float64:
        narrow = wide
    inputs = (q.to(narrow), k.to(narrow), v.to(narrow), log_decay)
    first = None if state is None else state.to(wide)
    o, last = _LinearAttention.apply(*inputs, first, choices or {})  # type: ignore[no-untyped-call]
    return o.to(v.dtype), last


@dataclass(frozen=True)
class _LinearSizes:
    """What the kernels are compiled for, and how much of it there is."""

    batch: int
    heads: int
    time: int
    key_dim: int
    value_dim: int
    width: int
    """Decays of one head and token: K or 1."""
    dtype: torch.dtype
    choices: Mapping[str, tuple[int, ...]]
    """Measured tiles of some launches."""

    @property
    def wide(self) -> torch.dtype:
        """What sums are held in."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def chunk(self) -> int:
        return max(_LINEAR_LEAST, min(_TRITON_LINEAR_CHUNK, triton.next_power_of_2(self.time)))

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.time, self.chunk)

    @property
    def lines(self) -> int:
        return self.batch * self.heads

    @property
    def is_low(self) -> bool:
        """Whether matrix units take the inputs as they are, in 16 bits."""
        return self.dtype.itemsize == 2

    @property
    def precision(self) -> str:
        """Of products of float32: as good as float32 itself, though on matrix units."""
        return "tf32x3" if self.dtype == torch.float32 else "ieee"

    def empty(self, *shape: int, like: Tensor, wide: bool = False) -> Tensor:
        return like.new_empty(shape, dtype=self.wide if wide else self.dtype)

    def tokens(self, like: Tensor) -> Tensor:
        """An empty [B, H, T, D] that lies in memory as [B, T, H, D], as models want it."""
        shape = (self.batch, self.time, self.heads, like.shape[-1])
        return like.new_empty(shape).transpose(1, 2)


@dataclass(frozen=True)
class _LinearBlocks:
    """The tile of a program in key and value channels, and the warps that share it."""

    keys: int
    values: int
    warps: int


def _linear_blocks(
    sizes: _LinearSizes, launch: str, keys: int, values: int, warps: int
) -> _LinearBlocks:
    """At most as large as given or chosen, at least what a matrix unit takes."""
    keys, values, warps = sizes.choices.get(launch, (keys, values, warps))
    padded = triton.next_power_of_2(sizes.key_dim), triton.next_power_of_2(sizes.value_dim)
    fit_keys, fit_values = (max(_LINEAR_LEAST, size) for size in padded)
    return _LinearBlocks(min(keys, fit_keys), min(values, fit_values), warps)


def _carry_blocks(sizes: _LinearSizes) -> _LinearBlocks:
    """Small tiles: only one program at a time walks along each of them."""
    return _linear_blocks(sizes, "carry", 32, 32, 4 if sizes.is_low else 8)


def _mix_blocks(sizes: _LinearSizes) -> _LinearBlocks:
    if sizes.width == 1:
        return _linear_blocks(sizes, "mix", 64, 64, 4 if sizes.is_low else 8)
    return _linear_blocks(sizes, "mix", 64 if sizes.is_low else 32, 64, 8)


def _grade_blocks(sizes: _LinearSizes) -> _LinearBlocks:
    """Three sums of the size of a tile stay in registers, hence narrow ones for many decays."""
    if sizes.is_low:
        return _linear_blocks(sizes, "grade", 64 if sizes.width == 1 else 32, 64, 4)
    return _linear_blocks(sizes, "grade", 32 if sizes.width == 1 else 16, 32, 8)


def _token_major(x: Tensor) -> Tensor:
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _linear_strides(x: Tensor) -> tuple[int, int, int]:
    return x.stride(0), x.stride(1), x.stride(2)


def _sums(log_decay: Tensor, sizes: _LinearSizes) -> tuple[Tensor, Tensor | None]:
    """Sums of decays inside chunks, [L, T, K or 1], and what they have lost by rounding."""
    s = sizes
    g = log_decay.expand(s.batch, s.heads, s.time, -1)
    sums = g.new_empty(s.lines, s.time, s.width, dtype=s.wide)
    rests = torch.empty_like(sums) if s.wide == torch.float32 else None
    block = min(32, triton.next_power_of_2(s.width))
    sum_decays[s.lines * s.chunks, triton.cdiv(s.width, block)](
        g, sums, rests, s.heads, s.time, s.chunks, *g.stride(),
        width=s.width, chunk=s.chunk, block=block, num_warps=4,
    )  # fmt: skip
    return sums, rests


def _linear_carry(
    keys: Tensor,
    values: Tensor,
    sums: Tensor,
    rests: Tensor | None,
    first: Tensor | None,
    sizes: _LinearSizes,
    *,
    backward: bool = False,
) -> tuple[Tensor, Tensor]:
    """States before each chunk, [L, N, K, V], and the last one; backward, from the end."""
    s = sizes
    states = s.empty(s.lines, s.chunks, s.key_dim, s.value_dim, like=keys)
    last = s.empty(s.batch, s.heads, s.key_dim, s.value_dim, like=keys, wide=True)
    blocks = _carry_blocks(s)
    tiles = triton.cdiv(s.key_dim, blocks.keys), triton.cdiv(s.value_dim, blocks.values)
    carry_linear_states[s.lines, *tiles](
        keys, values, sums, rests, first, states, last, s.heads, s.time, s.chunks,
        *_linear_strides(keys), *_linear_strides(values), width=s.width, key_dim=s.key_dim,
        value_dim=s.value_dim, chunk=s.chunk, block_k=blocks.keys, block_v=blocks.values,
        backward=backward, precision=s.precision, num_warps=blocks.warps,
    )  # fmt: skip
    return states, last


def _mix(
    q: Tensor,
    k: Tensor,
    values: Tensor,
    sums: Tensor,
    rests: Tensor | None,
    states: Tensor,
    sizes: _LinearSizes,
    *,
    backward: bool = False,
) -> Tensor:
    """Outputs; backward, the gradient of the values from that of the outputs."""
    s = sizes
    mixed = s.tokens(values)
    blocks = _mix_blocks(s)
    mix_values[s.lines * s.chunks, triton.cdiv(s.value_dim, blocks.values)](
        q, k, values, sums, rests, states, mixed, s.heads, s.time, s.chunks,
        *_linear_strides(q), *_linear_strides(values),
        width=s.width, key_dim=s.key_dim, value_dim=s.value_dim, chunk=s.chunk,
        levels=s.chunk.bit_length() - 1, block_k=blocks.keys, block_v=blocks.values,
        backward=backward, precision=s.precision, num_warps=blocks.warps,
    )  # fmt: skip
    return mixed


def _linear_grade(
    inputs: tuple[Tensor, Tensor, Tensor],
    doutputs: Tensor,
    sums: Tensor,
    rests: Tensor | None,
    states: tuple[Tensor, Tensor],
    sizes: _LinearSizes,
    *,
    decays: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of q and k, and of the decays if wanted, [B, H, T, K or 1]."""
    s = sizes
    q, _, v = inputs
    dq, dk = s.tokens(q), s.tokens(q)
    blocks = _grade_blocks(s)
    tiles = triton.cdiv(s.key_dim, blocks.keys)
    parts = tiles if s.width == 1 else 1
    dg = None
    if decays:
        dg = s.empty(parts, s.batch, s.heads, s.time, s.width, like=q, wide=True)
    grade_inputs[s.lines * s.chunks, tiles](
        *inputs, doutputs, sums, rests, *states, dq, dk, dg, s.heads, s.time, s.chunks,
        *_linear_strides(q), *_linear_strides(v),
        width=s.width, key_dim=s.key_dim, value_dim=s.value_dim, chunk=s.chunk,
        levels=s.chunk.bit_length() - 1, block_k=blocks.keys, block_v=blocks.values,
        precision=s.precision, num_warps=blocks.warps,
    )  # fmt: skip
    return dq, dk, None if dg is None else dg.sum(dim=0)


class _LinearAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        log_decay: Tensor,
        state: Tensor | None,
        choices: Mapping[str, tuple[int, ...]],
    ) -> tuple[Tensor, Tensor]:
        if q.stride() != k.stride() or q.stride(3) != 1:
            q, k = _token_major(q), _token_major(k)
        if v.stride(3) != 1:
            v = _token_major(v)
        batch, heads, time, key_dim = q.shape
        width = log_decay.shape[3]
        sizes = _LinearSizes(batch, heads, time, key_dim, v.shape[3], width, q.dtype, choices)
        sums, rests = _sums(log_decay, sizes)
        first = None if state is None else state.contiguous()
        states, last = _linear_carry(k, v, sums, rests, first, sizes)
        fine = None if sizes.is_low else rests
        o = _mix(q, k, v, sums, fine, states, sizes)
        ctx.save_for_backward(q, k, v, log_decay, states)
        ctx.sizes = sizes
        return o, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, log_decay, states = ctx.saved_tensors
        sizes: _LinearSizes = ctx.sizes
        do, dlast = _token_major(do), dlast.contiguous()
        sums, rests = _sums(log_decay, sizes)
        dstates, dfirst = _linear_carry(q, do, sums, rests, dlast, sizes, backward=True)
        fine = None if sizes.is_low else rests
        dv = _mix(q, k, do, sums, fine, dstates, sizes, backward=True)
        wanted = ctx.needs_input_grad[3]
        dq, dk, dg = _linear_grade(
            (q, k, v), do, sums, fine, (states, dstates), sizes, decays=wanted
        )
        if dg is not None:
            dg = dg.sum_to_size(log_decay.shape).to(log_decay.dtype)
        return dq, dk, dv, dg, dfirst if ctx.needs_input_grad[4] else None, None
