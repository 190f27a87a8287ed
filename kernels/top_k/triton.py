"""The largest scores of each row as Triton kernels, forward and backward.

Shapes: R rows, E entries of a row, K entries taken.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas.kernels.runtime.impl import Unsupported

MAX_ENTRIES = 8192
"""A row is held in the registers of one program, at 32 values for each thread."""


@triton.jit  # type: ignore[untyped-decorator]
def _pick(  # type: ignore[no-untyped-def]
    scores, values, indices, rows, entries, k,
    row_block: tl.constexpr, entry_block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """A program takes the K largest of each of its rows, one after the other.

    Scores are compared as integers of the same order: among them the least one is left over as a
    mark for what is taken or not there, so that minus infinity stays a score like any other.
    """
    row = tl.program_id(0).to(tl.int64) * row_block + tl.arange(0, row_block)
    column = tl.arange(0, entry_block)
    row_inside = row < rows
    inside = row_inside[:, None] & (column < entries)[None, :]
    score = tl.load(scores + row[:, None] * entries + column[None, :], mask=inside, other=0.0)
    if wide:
        bits = score.to(tl.int64, bitcast=True)
        greatest = tl.full([row_block, entry_block], 0x7FFFFFFFFFFFFFFF, tl.int64)
    else:
        score = score.to(tl.float32)
        bits = score.to(tl.int32, bitcast=True)
        greatest = tl.full([row_block, entry_block], 0x7FFFFFFF, tl.int32)
    nothing = ~greatest
    key = tl.where(bits < 0, bits ^ greatest, bits)  # negative floats stand in reverse
    key = tl.where(score == 0.0, tl.zeros_like(key), key)
    key = tl.where(score != score, greatest, key)
    key = tl.where(inside, key, nothing)
    for place in range(k):
        largest = tl.max(key, axis=1)
        index = tl.min(tl.where(key == largest[:, None], column[None, :], entry_block), axis=1)
        key = tl.where(column[None, :] == index[:, None], nothing, key)
        value = tl.load(scores + row * entries + index, mask=row_inside, other=0.0)
        tl.store(values + row * k + place, value, mask=row_inside)
        tl.store(indices + row * k + place, index.to(tl.int64), mask=row_inside)


@triton.jit  # type: ignore[untyped-decorator]
def _spread(  # type: ignore[no-untyped-def]
    dvalues, indices, dscores, rows, entries, k,
    row_block: tl.constexpr, entry_block: tl.constexpr,
):  # fmt: skip
    """A program writes the gradient of its rows whole: zeros, and K values where they came from."""
    row = tl.program_id(0).to(tl.int64) * row_block + tl.arange(0, row_block)
    column = tl.arange(0, entry_block)
    row_inside = row < rows
    inside = row_inside[:, None] & (column < entries)[None, :]
    grad = tl.zeros([row_block, entry_block], dvalues.dtype.element_ty)
    for place in range(k):
        index = tl.load(indices + row * k + place, mask=row_inside, other=0)
        value = tl.load(dvalues + row * k + place, mask=row_inside, other=0.0)
        grad = tl.where(column[None, :] == index[:, None], value[:, None], grad)
    tl.store(dscores + row[:, None] * entries + column[None, :], grad, mask=inside)


def _top_k_blocks(entries: int) -> dict[str, int]:
    """Whole rows, several for a program while they are short: up to 2048 entries, or 8 to 16 for a
    thread, but at most 32 rows, so that 16k rows still make 512 programs."""
    entry_block = triton.next_power_of_2(entries)
    return {
        "row_block": max(1, min(32, 2048 // entry_block)),
        "entry_block": entry_block,
        "num_warps": 8 if entry_block > 2048 else 4,
    }


class _TopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
        flat = scores.reshape(-1, scores.shape[-1]).contiguous()  # [R, E]
        rows, entries = flat.shape
        values = flat.new_empty(rows, k)
        indices = torch.empty(rows, k, dtype=torch.int64, device=flat.device)
        blocks = _top_k_blocks(entries)
        if rows:
            grid = (triton.cdiv(rows, blocks["row_block"]),)
            wide = flat.dtype == torch.float64
            _pick[grid](flat, values, indices, rows, entries, k, wide=wide, **blocks)
        ctx.save_for_backward(indices)
        ctx.shape = scores.shape
        indices = indices.view(*scores.shape[:-1], k)
        ctx.mark_non_differentiable(indices)
        return values.view(indices.shape), indices

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dvalues: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        rows, k = indices.shape
        entries = ctx.shape[-1]
        dvalues = dvalues.reshape(rows, k).contiguous()
        dscores = dvalues.new_empty(rows, entries)
        blocks = _top_k_blocks(entries)
        if rows:
            grid = (triton.cdiv(rows, blocks["row_block"]),)
            _spread[grid](dvalues, indices, dscores, rows, entries, k, **blocks)
        return dscores.view(ctx.shape), None


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K largest of scores [..., E] in descending order, and where they stand."""
    if scores.shape[-1] > MAX_ENTRIES:
        raise Unsupported(
            f"top_k: implementation 'triton' takes rows of at most {MAX_ENTRIES} entries, "
            f"not {scores.shape[-1]}"
        )
    found: tuple[Tensor, Tensor] = _TopK.apply(scores, k)  # type: ignore[no-untyped-call]
    return found
