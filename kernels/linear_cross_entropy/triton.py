"""Linear cross-entropy by Triton kernels, forward and backward, on a GPU or in the interpreter.

Shapes: N rows, D width, V vocabulary, S splits of a sum.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas.kernels.linear_cross_entropy.chunked import linear_cross_entropy_dtype
from nas.kernels.linear_cross_entropy.triton_kernels import (
    _log_sums,
    _slopes_of_weight,
    _slopes_of_x,
)

_WHOLE_BYTES = 512
"""Longest row that a program holds; of a longer one it takes a part of the columns, and then the
logits are computed for each part anew."""
_SPAN = 4096
"""Tokens of vocabulary that one program walks over, or more where that makes too many splits."""
_LOSS_PROGRAMS = 264
"""Programs that are enough to keep a GPU busy: two for each multiprocessor of the largest."""
_MOST_SPLITS = 4
"""Copies of the gradient of x, of which each is as large as x in float32."""


class _LossBlocks(NamedTuple):
    """Sizes of the blocks of one kernel."""

    own: int
    """Rows of the matrix that a program holds."""
    walk: int
    """Rows of the other that it reads at a time."""
    warps: int
    stages: int


def _loss_blocks(
    width: int, dtype: torch.dtype, choices: Mapping[str, tuple[int, ...]], *, backward: bool
) -> _LossBlocks:
    """What was chosen, or what fits: a block of the width in each matrix, and backward the sum in
    registers."""
    launch = "backward" if backward else "forward"
    if launch in choices:
        return _LossBlocks(*choices[launch])
    if dtype == torch.float64:
        return _LossBlocks(16, 16, 4, 1)
    if dtype == torch.float32:
        if backward:
            return _LossBlocks(32, 32, 8, 2)
        return _LossBlocks(64, 32, 8, 2) if width <= 64 else _LossBlocks(32, 16, 4, 2)
    if width > 128:
        return _LossBlocks(64, 64, 8, 2) if backward else _LossBlocks(128, 64, 8, 2)
    return _LossBlocks(128, 64, 8, 2)


class _Launch:
    """What all kernels are called with, for one size and type."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        choices: Mapping[str, tuple[int, ...]],
        *,
        backward: bool,
    ) -> None:
        self.rows, self.width = x.shape
        self.vocab = len(weight)
        most = _WHOLE_BYTES // x.dtype.itemsize
        self.block = max(16, min(triton.next_power_of_2(self.width), most))
        self.blocks = _loss_blocks(self.block, x.dtype, choices, backward=backward)
        double = x.dtype == torch.float64
        self.wide = torch.float64 if double else torch.float32
        self.named: dict[str, Any] = {
            "own": self.blocks.own,
            "walk": self.blocks.walk,
            "block": self.block,
            "chunk": min(self.block, 64),
            "whole": self.width <= self.block,
            "wide": tl.float64 if double else tl.float32,
            # The products of float32 are to be as good as float32, not as TF32.
            "precision": "ieee" if double else "tf32x3",
            "num_warps": self.blocks.warps,
            "num_stages": self.blocks.stages,
        }

    @property
    def parts(self) -> int:
        """Parts into which the width is cut."""
        return triton.cdiv(self.width, self.block)

    def split(self, length: int, splits: int) -> tuple[int, int]:
        """How many splits there are of a walk, at most `splits`, and how long each is: whole
        blocks."""
        steps = triton.cdiv(length, self.blocks.walk)
        span = triton.cdiv(steps, splits) * self.blocks.walk
        return triton.cdiv(length, span), span


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        targets: Tensor,
        bias: Tensor | None,
        choices: Mapping[str, tuple[int, ...]],
    ) -> Tensor:
        dtype = linear_cross_entropy_dtype(x, weight)
        ctx.dtypes = [None if t is None else t.dtype for t in (x, weight, bias)]
        x, weight = x.to(dtype).contiguous(), weight.to(dtype).contiguous()
        targets, bias = targets.contiguous(), None if bias is None else bias.contiguous()
        ctx.choices = choices
        launch = _Launch(x, weight, choices, backward=False)
        # How the vocabulary is split may not depend on the rows, or a row's loss would.
        splits, span = launch.split(launch.vocab, triton.cdiv(launch.vocab, _SPAN))
        log_sums, wanted = x.new_empty(2, splits, launch.rows, dtype=launch.wide)
        grid = (triton.cdiv(launch.rows, launch.blocks.own), splits)
        sizes = (launch.rows, launch.vocab, launch.width, span)
        if launch.rows:
            _log_sums[grid](x, weight, bias, targets, log_sums, wanted, *sizes, **launch.named)
        counts, total = targets != -100, torch.logsumexp(log_sums, dim=0)
        count = counts.sum().clamp(min=1)
        ctx.save_for_backward(x, weight, targets, bias, total, count)
        return torch.where(counts, total - wanted.sum(dim=0), 0).sum() / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, targets, bias, log_sums, count = ctx.saved_tensors
        scale = cotangent / count
        given = (x, weight, bias, targets, log_sums, scale, ctx.choices)
        x_dtype, weight_dtype, bias_dtype = ctx.dtypes
        dx = _gradient_of_x(*given).to(x_dtype) if ctx.needs_input_grad[0] else None
        dweight = dbias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[3]:
            dweight, dbias = _gradient_of_weight(*given)
            dweight, dbias = (
                dweight.to(weight_dtype),
                None if bias is None else dbias.to(bias_dtype),
            )
        return dx, dweight, None, dbias, None


def _gradient_of_x(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    log_sums: Tensor,
    scale: Tensor,
    choices: Mapping[str, tuple[int, ...]],
) -> Tensor:
    launch = _Launch(x, weight, choices, backward=True)
    # The splits may not depend on the rows here either.
    splits = min(_MOST_SPLITS, triton.cdiv(launch.vocab, _SPAN))
    splits, span = launch.split(launch.vocab, splits)
    dx = x.new_empty(splits, *x.shape, dtype=x.dtype if splits == 1 else launch.wide)
    grid = (triton.cdiv(launch.rows, launch.blocks.own), launch.parts, splits)
    sizes = (launch.rows, launch.vocab, launch.width, span)
    if launch.rows:
        _slopes_of_x[grid](x, weight, bias, targets, log_sums, scale, dx, *sizes, **launch.named)
    return dx[0] if splits == 1 else dx.sum(dim=0)


def _gradient_of_weight(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    log_sums: Tensor,
    scale: Tensor,
    choices: Mapping[str, tuple[int, ...]],
) -> tuple[Tensor, Tensor]:
    launch = _Launch(x, weight, choices, backward=True)
    tiles = triton.cdiv(launch.vocab, launch.blocks.own)
    wanted = max(1, _LOSS_PROGRAMS // (tiles * launch.parts))
    splits, span = launch.split(launch.rows, wanted) if launch.rows else (1, 1)
    dweight = weight.new_empty(splits, *weight.shape, dtype=launch.wide)
    dbias = weight.new_empty(splits, launch.vocab, dtype=launch.wide)
    sizes = (launch.rows, launch.vocab, launch.width, span)
    given = (x, weight, bias, targets, log_sums, scale, dweight, dbias)
    _slopes_of_weight[(tiles, launch.parts, splits)](*given, *sizes, **launch.named)
    if splits == 1:
        return dweight[0], dbias[0]
    return dweight.sum(dim=0), dbias.sum(dim=0)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    choices: Mapping[str, tuple[int, ...]] | None = None,
) -> Tensor:
    """Mean of ``-log softmax(x weight^T + bias)[target]``.

    `choices` may hold, for the launches "forward" and "backward", the numbers of ``_LossBlocks``
    instead of the defaults.
    """
    rows, wanted = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
    loss: Tensor = _LinearCrossEntropy.apply(rows, weight, wanted, bias, choices or {})  # type: ignore[no-untyped-call]
    return loss
