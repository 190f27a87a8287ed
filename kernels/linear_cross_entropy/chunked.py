"""Linear cross-entropy in plain torch, a block of rows at a time.

Shapes: N rows, D width, V vocabulary, R rows of one block.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LINEAR_CROSS_ENTROPY_LOGITS = 1 << 22
"""Logits that are in memory at a time."""
LINEAR_CROSS_ENTROPY_ROWS = 256
"""Least rows of a block, since each block adds to the whole gradient of the weight."""
LINEAR_CROSS_ENTROPY_VOCAB = 512
"""Up to this vocabulary torch's own functions are faster, and their logits are as small as x."""


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Mean of ``-log softmax(x weight^T + bias)[target]`` over the targets that are not -100; 0
    where there is none.

    x [..., D], weight [V, D], targets [...] and bias [V]. The product is in autocast's type where
    that is on; the rest is in float32, or float64 for float64, and so is the loss.
    """
    rows, wanted = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
    if x.device.type == "cpu":  # elsewhere this would wait for the device
        counted = (wanted != -100).nonzero().squeeze(-1)
        if len(counted) < len(wanted):
            rows, wanted = rows.index_select(0, counted), wanted.index_select(0, counted)
    small = len(weight) <= LINEAR_CROSS_ENTROPY_VOCAB
    if small and len(rows) * len(weight) <= LINEAR_CROSS_ENTROPY_LOGITS:
        return linear_cross_entropy_whole(rows, weight, wanted, bias)
    dtype = linear_cross_entropy_dtype(x, weight)
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    run: Any = LinearCrossEntropy.apply
    loss: Tensor = run(rows, weight, wanted, bias, dtype, train)
    return loss


def linear_cross_entropy_whole(
    x: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None
) -> Tensor:
    """The loss of rows [N, D] with all of their logits in memory."""
    common = torch.promote_types(x.dtype, weight.dtype)
    logits = functional.linear(x.to(common), weight.to(common))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if bias is not None:
        logits = logits + bias
    total = functional.cross_entropy(logits, targets, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


def linear_cross_entropy_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    """The type in which x and weight are multiplied."""
    common, device = torch.promote_types(x.dtype, weight.dtype), x.device.type
    if torch.is_autocast_enabled(device) and common != torch.float64:
        return torch.get_autocast_dtype(device)
    return common


class LinearCrossEntropy(torch.autograd.Function):
    """The loss of rows [N, D]. Its gradients are summed up along with it, since the logits are gone
    afterwards; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        targets: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        train: bool,
    ) -> Tensor:
        wide = torch.promote_types(dtype, torch.float32)
        matrix, counts = weight.to(dtype), targets != -100
        size = max(LINEAR_CROSS_ENTROPY_ROWS, LINEAR_CROSS_ENTROPY_LOGITS // len(weight))
        buffer = matrix.new_empty(min(size, len(x)), len(weight))  # [R, V]
        losses, shares = (x.new_empty(len(x), dtype=wide) for _ in range(2))
        slopes = [x.new_empty(x.shape if train else 0, dtype=dtype)]
        for tensor in (weight, bias):
            if tensor is not None and train:
                slopes.append(torch.zeros_like(tensor, dtype=wide))
        for start in range(0, len(x), size):
            block = slice(start, start + size)
            inputs, index = x[block].to(dtype), targets[block].clamp(min=0).unsqueeze(-1)
            scores = torch.mm(inputs, matrix.T, out=buffer[: len(inputs)]).to(wide)
            if bias is not None:
                scores += bias
            losses[block], sums = linear_cross_entropy_powers(scores, index)
            shares[block] = counts[block] / sums
            if train:
                scores.scatter_add_(-1, index, -sums.unsqueeze(-1))
                linear_cross_entropy_slopes(scores, inputs, matrix, shares[block], block, slopes)
        count = counts.sum().clamp(min=1)
        ctx.save_for_backward(count, shares, *slopes)
        ctx.dtypes = [tensor.dtype for tensor in (x, weight, bias) if tensor is not None]
        return torch.where(counts, losses, 0).sum() / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        count, shares, dx, *others = ctx.saved_tensors
        scale = cotangent / count
        scaled = [dx * (scale * shares).unsqueeze(-1), *(slope * scale for slope in others)]
        dx, dweight, *dbias = (x.to(dtype) for x, dtype in zip(scaled, ctx.dtypes, strict=True))
        return dx, dweight, None, dbias[0] if dbias else None, None, None


def linear_cross_entropy_powers(scores: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [R] of logits [R, V] for targets [R, 1], and the sums [R] of the powers
    ``exp(logit - peak)``, which take the place of the logits."""
    peaks = scores.amax(dim=-1, keepdim=True)
    wanted = (scores.gather(-1, index) - peaks).squeeze(-1)
    sums = scores.sub_(peaks).exp_().sum(dim=-1)
    return sums.log() - wanted, sums


def linear_cross_entropy_slopes(
    scores: Tensor,
    inputs: Tensor,
    matrix: Tensor,
    shares: Tensor,
    block: slice,
    slopes: list[Tensor],
) -> None:
    """Add a block to the gradients of weight and bias, and write its rows of that of x.

    The gradient of the logits is scores [R, V] times shares [R]. Multiplying what it is multiplied
    with, or the product, saves a pass over it; x is left without."""
    dx, dweight, *dbias = slopes
    dlogits, shared = scores.to(matrix.dtype), (inputs * shares.unsqueeze(-1)).to(matrix.dtype)
    torch.mm(dlogits, matrix, out=dx[block])
    if dweight.dtype == dlogits.dtype:
        torch.addmm(dweight, dlogits.T, shared, out=dweight)
    else:
        dweight += dlogits.T @ shared
    for total in dbias:
        torch.addmv(total, scores.T, shares, out=total)
