"""What every implementation of RMS normalisation is held to."""

import torch
from torch import Tensor

from nas.kernels.rms_norm.api import rms_norm
from nas.kernels.runtime.impl import Impl, use_impl

EPS = 1e-5
SHAPES = [(1, 1), (7,), (3, 17), (2, 5, 24), (2, 2, 64)]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """The output and both gradients for a fixed random cotangent."""
    x, weight = (t.detach().requires_grad_() for t in inputs)
    with use_impl(impl):
        y = rms_norm(x, weight, EPS)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, (x, weight), torch.randn_like(y))]


def draw(shape: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    return [x, torch.randn(shape[-1], dtype=torch.float64)]


def check_values(impl: Impl, shape: tuple[int, ...]) -> None:
    inputs = draw(shape)
    pairs = zip(with_gradients(impl, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True)
    for mine, true in pairs:
        torch.testing.assert_close(mine, true, rtol=1e-10, atol=1e-12)


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in draw((2, 5, 24))]
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast, slow = with_gradients(impl, low), with_gradients(Impl.REFERENCE, low)
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert mine.dtype == dtype
        error, allowed = ((x.double() - true).abs().max() for x in (mine, honest))
        assert error <= 2 * allowed + true.abs().max() * torch.finfo(dtype).eps
