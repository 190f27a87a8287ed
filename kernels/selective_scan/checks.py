"""What every implementation of the selective scan is held to."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.selective_scan.api import selective_scan

CHANNELS, STATES = 5, 3
GAINS = {
    "selective": (2, -1, STATES, 1),
    "fixed": (1, 1, STATES, CHANNELS),
    "free": (1, -1, STATES, CHANNELS),
    "one": (1, 1, 1, 1),
}
KINDS = tuple(GAINS)


def draw(time: int, kind: str) -> list[Tensor]:
    """x, step, rates, write, read and a state in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(DEVICE)

    gain = [time if size == -1 else size for size in GAINS[kind]]
    step = (1, 1, CHANNELS) if kind == "fixed" else (2, time, CHANNELS)
    rates = -softplus(normal(STATES, CHANNELS))
    x, state = normal(2, time, CHANNELS), normal(2, STATES, CHANNELS)
    return [x, softplus(normal(*step)), rates, normal(*gain), normal(*gain), state]


def check_values(impl: Impl, time: int, kind: str, with_state: bool) -> None:
    check_exact(impl, selective_scan, draw(time, kind)[: 6 if with_state else 5])


def check_low_precision(impl: Impl, dtype: torch.dtype, time: int) -> None:
    check_budget(impl, selective_scan, [x.to(dtype) for x in draw(time, "selective")])


def check_mixed(impl: Impl, time: int) -> None:
    """As in Mamba under mixed precision: steps and rates stay in float32."""
    x, step, rates, write, read, state = draw(time, "selective")
    wide = [step.float(), rates.float()]
    rounded = [write.bfloat16(), read.bfloat16()]
    check_budget(impl, selective_scan, [x.bfloat16(), *wide, *rounded, state.float()])


def check_rate(impl: Impl, rate: float, time: int) -> None:
    low = [x.float() for x in draw(time, "selective")]
    low[2] = torch.full_like(low[2], rate)
    check_budget(impl, selective_scan, low)


def check_split(impl: Impl) -> None:
    """A state carried over a split gives what the whole gives."""
    x, step, rates, write, read, state = draw(10, "selective")
    with use_impl(impl):
        whole, last = selective_scan(x, step, rates, write, read, state)
        parts = []
        for part in (slice(0, 6), slice(6, 7), slice(7, 10)):
            timed = (x[:, part], step[:, part], rates, write[:, part], read[:, part])
            y, state = selective_scan(*timed, state)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, last)


def check_rows_alone(impl: Impl) -> None:
    """A sequence comes out the same, bit for bit, in a batch and alone."""
    inputs = [x.float() for x in draw(5, "selective")]
    alone = [x if index == 2 else x[1:] for index, x in enumerate(inputs)]
    wholes, rows = _gradients(impl, inputs), _gradients(impl, alone)
    del wholes[4], rows[4]  # of the rates: a sum over the batch
    for whole, row in zip(wholes, rows, strict=True):
        assert torch.equal(whole[1:], row)


def check_repeats(impl: Impl) -> None:
    inputs = [x.float() for x in draw(3, "selective")]
    for first, second in zip(_gradients(impl, inputs), _gradients(impl, inputs), strict=True):
        assert torch.equal(first, second)


def _gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    with use_impl(impl):
        y, last = selective_scan(*leaves)
    return [y, last, *torch.autograd.grad(y.square().sum() + last.sum(), leaves)]


def check_layouts(impl: Impl) -> None:
    """Inputs that are slices, transposed or expanded views of others."""

    def viewed(
        x: Tensor, step: Tensor, rates: Tensor, write: Tensor, read: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        write = write.expand(-1, -1, -1, CHANNELS)
        return selective_scan(x[..., 2:7], step.mT, rates.mT, write, read, state.mT)

    x, step, rates, write, read, state = draw(5, "selective")
    flipped = [t.mT.contiguous() for t in (step, rates, state)]
    check_exact(impl, viewed, [torch.cat((x, x), 2), *flipped[:2], write, read, flipped[2]])
