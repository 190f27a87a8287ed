"""What every implementation of the diagonal recurrence is held to."""

import torch
from torch import Tensor

from nas.kernels.diagonal_scan.api import diagonal_scan
from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact
from nas.kernels.runtime.impl import Impl, use_impl

CHANNELS = 5
DECAYS = {"token": (2, -1, CHANNELS), "shared": (1, -1, 1), "fixed": (1, 1, CHANNELS)}


def draw(time: int, decay: str) -> list[Tensor]:
    """x, decay between -1 and 1, and a state in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(DEVICE)

    shape = (time if size == -1 else size for size in DECAYS[decay])
    return [normal(2, time, CHANNELS), normal(*shape).tanh(), normal(2, CHANNELS)]


def check_values(impl: Impl, time: int, decay: str, with_state: bool) -> None:
    check_exact(impl, diagonal_scan, draw(time, decay)[: 3 if with_state else 2])


def check_low_precision(impl: Impl, dtype: torch.dtype, time: int = 10) -> None:
    check_budget(impl, diagonal_scan, [x.to(dtype) for x in draw(time, "token")])


def check_mixed(impl: Impl) -> None:
    """A decay near one decides how long the memory is, so it stays in float32."""
    x, decay, state = draw(10, "token")
    check_budget(impl, diagonal_scan, [x.bfloat16(), decay.float(), state.float()])


def check_split(impl: Impl) -> None:
    """A state carried over a split gives what the whole gives."""
    x, decay, state = draw(18, "token")
    with use_impl(impl):
        whole, last = diagonal_scan(x, decay, state)
        parts = []
        for part in (slice(0, 11), slice(11, 12), slice(12, 18)):
            h, state = diagonal_scan(x[:, part], decay[:, part], state)
            parts.append(h)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, last)


def check_zero_and_one(impl: Impl, time: int) -> None:
    x = draw(time, "token")[0]
    for decay, expected in ((0.0, x), (1.0, x.cumsum(1))):
        factors = torch.full_like(x, decay, requires_grad=True)
        with use_impl(impl):
            h, _ = diagonal_scan(x, factors)
        torch.testing.assert_close(h, expected)
        assert torch.autograd.grad(h.sum(), factors)[0].isfinite().all()


def check_rows_alone(impl: Impl) -> None:
    """A sequence comes out the same, bit for bit, in a batch and alone."""
    inputs = [x.float() for x in draw(10, "token")]
    together, alone = (_gradients(impl, rows) for rows in (inputs, [x[1:] for x in inputs]))
    for whole, row in zip(together, alone, strict=True):
        assert torch.equal(whole[1:], row)


def _gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    with use_impl(impl):
        h, last = diagonal_scan(*leaves)
    return [h, last, *torch.autograd.grad(h.square().sum() + last.sum(), leaves)]


def check_repeats(impl: Impl) -> None:
    inputs = [x.float() for x in draw(10, "token")]
    for first, second in zip(_gradients(impl, inputs), _gradients(impl, inputs), strict=True):
        assert torch.equal(first, second)


def check_layouts(impl: Impl) -> None:
    """Inputs that are slices or transposed views of others."""

    def viewed(x: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return diagonal_scan(x[:, 1:, 2 : 2 + CHANNELS], decay.mT[:, 1:], state.mT)

    x, decay, state = draw(9, "token")
    views = [torch.cat((x, x), 2), decay.mT.contiguous(), state.mT.contiguous()]
    check_exact(impl, viewed, views)
