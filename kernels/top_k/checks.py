"""What every implementation of the K largest is held to."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact, poisoned
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.top_k.api import top_k

Check = Callable[[Impl], None]

SIZES = [
    ((1,), 1),
    ((1, 1), 1),
    ((7, 2), 1),
    ((2, 3, 5), 5),
    ((33, 16), 2),  # a row more than a program takes
    ((3, 64), 16),
    ((2, 1000), 32),
]


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def found(impl: Impl, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    with use_impl(impl), poisoned():
        return top_k(scores, k)


def check_same(impl: Impl, scores: Tensor, k: int) -> None:
    """Values and indices are those of the definition, to the bit."""
    mine, true = found(impl, scores, k), found(Impl.REFERENCE, scores, k)
    for got, wanted in zip(mine, true, strict=True):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


def check_values(impl: Impl, shape: tuple[int, ...], k: int) -> None:
    scores = draw(shape)
    check_same(impl, scores, k)
    check_exact(impl, lambda s: top_k(s, k)[0], [scores])


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    """Drawn so that bfloat16 has equal scores in most rows."""
    scores = draw((9, 200), dtype)
    check_same(impl, scores, 8)
    check_budget(impl, lambda s: top_k(s, 8)[0], [scores])


def check_ties(impl: Impl, dtype: torch.dtype) -> None:
    inf, nan = torch.inf, torch.nan
    rows = [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 2.0, 1.0, 2.0],
        [0.0, -0.0, -1.0, -0.0, 0.0],
        [-inf, -inf, -inf, -inf, -inf],
        [-inf, -1.0, -inf, -1e30, inf],
        [inf, nan, inf, -nan, 1.0],
        [-2.0, -1.0, -3.0, -1.0, -2.0],
    ]
    scores = torch.tensor(rows, dtype=dtype, device=DEVICE)
    for k in (1, 2, 3, 5):
        check_same(impl, scores, k)
    indices = found(impl, scores, 3)[1].tolist()
    assert indices[1:3] == [[1, 2, 4], [0, 1, 3]]
    assert indices[5] == [1, 3, 0]


def check_gradient_of_ties(impl: Impl) -> None:
    """The gradient goes to the entries that were taken, not to their equals."""
    scores = torch.tensor([[1.0, 2.0, 2.0, 2.0]], device=DEVICE, requires_grad=True)
    values = found(impl, scores, 2)[0]
    (grad,) = torch.autograd.grad(values, scores, torch.tensor([[3.0, 4.0]], device=DEVICE))
    assert grad.tolist() == [[0.0, 3.0, 4.0, 0.0]]


def check_layouts(impl: Impl) -> None:
    """Inputs that are not contiguous, and that repeat along an axis."""
    scores = draw((6, 5, 4))
    for view in (scores.transpose(0, 2), scores[:, 1:4, ::2], scores[:, :1].expand(6, 3, 4)):
        check_same(impl, view, 2)
        check_exact(impl, lambda s: top_k(s, 2)[0], [view])


def check_row_alone(impl: Impl) -> None:
    """A row has the same result alone and in a batch, and every time."""
    scores = draw((40, 12), torch.float32)
    values, indices = found(impl, scores, 3)
    for row in (0, 31, 39):
        alone = found(impl, scores[row : row + 1], 3)
        assert torch.equal(alone[0][0], values[row])
        assert torch.equal(alone[1][0], indices[row])
    again = found(impl, scores, 3)
    assert torch.equal(again[0], values)
    assert torch.equal(again[1], indices)


def check_no_rows(impl: Impl) -> None:
    scores = draw((0, 4)).requires_grad_()
    values, indices = found(impl, scores, 2)
    assert values.shape == indices.shape == (0, 2)
    assert torch.autograd.grad(values.sum(), scores)[0].shape == (0, 4)
