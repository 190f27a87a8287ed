"""Routing with Triton kernels: the gradients and the launches. Nothing waits for the device.

Shapes: N tokens, K copies of each, E experts, D width, M = N x K rows.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from nas.kernels.routing.triton_kernels import (
    _add_up,
    _count,
    _gather,
    _place,
    _routing_weight_gradient,
    _sum_copies,
)

_COPIES = 128
"""Copies of a block: each is compared with each, 128 pairs for a thread."""
_EXPERTS = 32
"""Experts that a program looks at in one step."""
_ROUTING_BLOCKS = 64
"""Blocks of copies that are added up in one step."""
_ANY = 2**31 - 1


def route(chosen: Tensor, experts: int, capacity: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """A counting sort of the copies by expert: order [M], places [N, K], sizes [E]."""
    chosen = chosen.contiguous()
    copies, most = chosen.numel(), _ANY if capacity is None else min(capacity, _ANY)
    order = torch.full((copies,), -1, dtype=torch.int64, device=chosen.device)
    places = torch.empty_like(chosen, dtype=torch.int64)
    blocks = triton.cdiv(copies, _COPIES)
    turns = torch.empty(copies, dtype=torch.int32, device=chosen.device)
    counts = torch.zeros(blocks, experts, dtype=torch.int32, device=chosen.device)
    before = torch.empty_like(counts)
    sizes = torch.empty(experts, dtype=torch.int64, device=chosen.device)
    if copies:
        _count[(blocks,)](chosen, turns, counts, copies, experts, copy_block=_COPIES)
    _add_up[(triton.cdiv(experts, _EXPERTS),)](
        counts,
        before,
        sizes,
        blocks,
        experts,
        most,
        many_blocks=_ROUTING_BLOCKS,
        expert_block=_EXPERTS,
    )
    if copies:
        _place[(blocks,)](
            chosen, turns, before, sizes, order, places, copies, experts, most,
            copy_block=_COPIES, expert_block=_EXPERTS,
        )  # fmt: skip
    return order, places, sizes


def _routing_tile(width: int) -> tuple[int, int]:
    """Rows and columns of a tile: 2048 values, 16 for a thread, and at most 256 columns, so that
    a row is read in pieces of up to 512 bytes."""
    columns = max(16, min(256, triton.next_power_of_2(width)))
    return 2048 // columns, columns


def _gathered(x: Tensor, weights: Tensor | None, order: Tensor, copies: int) -> Tensor:
    count, width = len(order), x.shape[1]
    rows = x.new_empty(count, width)
    high, broad = _routing_tile(width)
    if rows.numel():
        _gather[triton.cdiv(count, high), triton.cdiv(width, broad)](
            x, weights, order, rows, count, width, copies,
            weighed=weights is not None, row_block=high, width_block=broad,
        )  # fmt: skip
    return rows


def _summed(rows: Tensor, weights: Tensor | None, places: Tensor) -> Tensor:
    (tokens, copies), width = places.shape, rows.shape[1]
    y = rows.new_empty(tokens, width)
    high, broad = _routing_tile(width)
    if y.numel():
        _sum_copies[triton.cdiv(tokens, high), triton.cdiv(width, broad)](
            rows, weights, places, y, tokens, width, copies,
            weighed=weights is not None, token_block=high, width_block=broad,
        )  # fmt: skip
    return y


class _Dispatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return _gathered(x.contiguous(), None, order, places.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, drows: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return _summed(drows.contiguous(), None, places), None, None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, order: Tensor, places: Tensor) -> Tensor:
        rows, weights = rows.contiguous(), weights.contiguous()
        ctx.save_for_backward(rows, weights, order, places)
        return _summed(rows, weights, places)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        rows, weights, order, places = ctx.saved_tensors
        (tokens, copies), width = places.shape, rows.shape[1]
        dy = dy.contiguous()
        drows = dweights = None
        if ctx.needs_input_grad[0]:
            drows = _gathered(dy, weights, order, copies)
        if ctx.needs_input_grad[1]:
            dweights = torch.empty_like(weights)
            high, broad = _routing_tile(width)
            if tokens:
                _routing_weight_gradient[triton.cdiv(tokens, high), copies](
                    rows, dy, places, dweights, tokens, width, copies,
                    token_block=high, width_block=broad,
                )  # fmt: skip
        return drows, dweights, None, None


def dispatch(x: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """Rows sorted by expert, with zeros after the last: x [N, D] -> [M, D]."""
    rows: Tensor = _Dispatch.apply(x, order, places.contiguous())  # type: ignore[no-untyped-call]
    return rows


def combine(rows: Tensor, weights: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """The weighted sum of the rows of each token's copies."""
    places = places.contiguous()
    y: Tensor = _Combine.apply(rows, weights, order, places)  # type: ignore[no-untyped-call]
    return y
