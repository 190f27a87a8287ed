"""What every implementation of a grouped matrix product is held to."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.kernels.grouped_matmul.api import grouped_matmul
from nas.kernels.runtime.checking import (
    DEVICE,
    check_budget,
    check_exact,
    poisoned,
    with_gradients,
)
from nas.kernels.runtime.impl import Impl, use_impl

Check = Callable[[Impl], None]

TILE = 64
"""Rows of a tile of the Triton form at these sizes."""
SIZES = [
    ((1,), 1, 1),
    ((2,), 5, 3),
    ((0, 3, 0, 0, 2, 0), 8, 17),
    ((TILE - 1, 1, TILE), 20, 24),
    ((TILE + 1, 0, 2 * TILE + 3), 33, 16),
    ((0, 0), 4, 4),
    ((1,) * 20, 3, 40),
]
"""Sizes of the groups, inputs, outputs."""


def draw(
    sizes: tuple[int, ...],
    inputs: int,
    outputs: int,
    dtype: torch.dtype = torch.float64,
    *,
    rest: int = 0,
) -> list[Tensor]:
    """x, weight and sizes; `rest` rows follow the last group."""
    generator = torch.Generator().manual_seed(0)
    shapes = (sum(sizes) + rest, inputs), (len(sizes), inputs, outputs)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [*(x.to(DEVICE, dtype) for x in drawn), torch.tensor(sizes, device=DEVICE)]


def product(impl: Impl, x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    with use_impl(impl), poisoned():
        return grouped_matmul(x, weight, sizes)


def check_values(impl: Impl, sizes: tuple[int, ...], inputs: int, outputs: int) -> None:
    check_exact(impl, grouped_matmul, draw(sizes, inputs, outputs))


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    check_budget(impl, grouped_matmul, draw((5, 0, 70, 30), 80, 36, dtype, rest=3))


def check_rest(impl: Impl) -> None:
    """Rows of no group give 0 and get no gradient, whatever they hold."""
    for rest in (1, TILE + 2):
        x, weight, sizes = draw((3, 0, 4), 6, 5, rest=rest)
        check_exact(impl, grouped_matmul, [x, weight, sizes])
        x[7:] = torch.nan
        y, dx, dweight = with_gradients(impl, grouped_matmul, [x, weight, sizes])
        assert y[7:].eq(0).all()
        assert dx[7:].eq(0).all()
        assert y.isfinite().all()
        assert dweight.isfinite().all()
        assert dweight[1].eq(0).all()


def check_layouts(impl: Impl) -> None:
    """Inputs that are not contiguous; matrices stored transposed; one matrix for all groups."""
    x, weight, sizes = draw((3, 4), 6, 8)
    for rows in (x.mT.contiguous().mT, torch.stack((x, x), dim=-1)[..., 0]):
        check_exact(impl, grouped_matmul, [rows, weight, sizes])
    shared = weight[:1].expand(2, -1, -1)
    matrices = (weight.mT.contiguous().mT, weight[:, :, ::2], shared)
    for matrix in matrices:
        true = product(Impl.REFERENCE, x, matrix, sizes)
        torch.testing.assert_close(product(impl, x, matrix, sizes), true, rtol=1e-10, atol=1e-10)


def check_transposed_gradients(impl: Impl) -> None:
    x, stored, sizes = draw((3, 0, TILE + 4), 20, 24)
    stored = stored.mT.contiguous()
    check_exact(
        impl, lambda x, stored, sizes: grouped_matmul(x, stored.mT, sizes), [x, stored, sizes]
    )


def check_row_alone(impl: Impl) -> None:
    """A row has the same result alone and among others, and every time."""
    x, weight, sizes = draw((5, TILE + 9), 40, 24, torch.float32)
    y = product(impl, x, weight, sizes)
    assert torch.equal(product(impl, x, weight, sizes), y)
    for row, group in ((2, 0), (70, 1)):
        one = torch.zeros_like(sizes)
        one[group] = 1
        assert torch.equal(product(impl, x[row : row + 1], weight, one)[0], y[row])


def check_one_of_the_gradients(impl: Impl) -> None:
    """Frozen weights, or inputs without a gradient, take nothing from the other gradient."""
    x, weight, sizes = draw((3, 4), 6, 8)
    whole = with_gradients(impl, grouped_matmul, [x, weight, sizes])[1:]
    for index in range(2):
        inputs = [x.clone(), weight.clone()]
        inputs[index].requires_grad_()
        y = product(impl, inputs[0], inputs[1], sizes)
        cotangent = torch.randn(
            y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        (grad,) = torch.autograd.grad(y, inputs[index], cotangent.to(y))
        assert torch.equal(grad, whole[index])


def check_large_values(impl: Impl) -> None:
    """Sums of values near the end of float32's range stay finite while they are in it."""
    x, weight, sizes = draw((3, 4), 4, 4, torch.float32)
    y, *grads = with_gradients(impl, grouped_matmul, [x * 1e18, weight * 1e18, sizes])
    assert all(result.isfinite().all() for result in (y, *grads))


def check_no_rows(impl: Impl) -> None:
    y, dx, dweight = with_gradients(impl, grouped_matmul, draw((0, 0, 0), 4, 5))
    assert y.shape == (0, 5)
    assert dx.shape == (0, 4)
    assert dweight.eq(0).all()


CHECKS: list[Check] = [
    check_rest,
    check_layouts,
    check_transposed_gradients,
    check_row_alone,
    check_one_of_the_gradients,
    check_large_values,
    check_no_rows,
]
