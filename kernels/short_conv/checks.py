"""What every implementation of the short convolution is held to."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.kernels.runtime.checking import DEVICE, Call, check_budget, check_exact
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.short_conv.api import short_conv

CHANNELS = 5
FORMS = ("plain", "bias", "latest", "all")


def draw(time: int, width: int, form: str, *, batch: int = 2) -> list[Tensor]:
    """x, weight and, as the form has them, bias and latest in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(DEVICE)

    inputs = [normal(batch, time, CHANNELS), normal(CHANNELS, width)]
    if form in ("bias", "all"):
        inputs.append(normal(CHANNELS))
    if form in ("latest", "all"):
        inputs.append(normal(batch, width - 1, CHANNELS))
    return inputs


def call(form: str, activation: str | None) -> Call:
    """The op as a function of what `draw` gives."""

    def plain(x: Tensor, weight: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        bias = rest[0] if form in ("bias", "all") else None
        latest = rest[-1] if form in ("latest", "all") else None
        return short_conv(x, weight, bias, latest, activation)

    return plain


def check_values(impl: Impl, time: int, width: int, form: str, activation: str | None) -> None:
    check_exact(impl, call(form, activation), draw(time, width, form))


def check_low_precision(impl: Impl, dtype: torch.dtype, activation: str | None) -> None:
    low = [x.to(dtype) for x in draw(40, 4, "all")]
    check_budget(impl, call("all", activation), low)


def check_weight_in_float32(impl: Impl) -> None:
    """As under mixed precision: activations are rounded, parameters are not."""
    x, weight, bias, latest = (x.float() for x in draw(40, 4, "all"))
    check_budget(impl, call("all", "silu"), [x.bfloat16(), weight, bias, latest.bfloat16()])


def check_split(impl: Impl) -> None:
    """Inputs carried over a split give what the whole gives."""
    x, weight, bias, latest = draw(14, 4, "all")
    with use_impl(impl):
        whole, last = short_conv(x, weight, bias, latest)
        parts = []
        for part in (slice(0, 9), slice(9, 10), slice(10, 12), slice(12, 14)):
            y, latest = short_conv(x[:, part], weight, bias, latest)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert torch.equal(latest, last)


def check_rows_alone(impl: Impl) -> None:
    """A sequence comes out the same, bit for bit, in a batch and alone."""
    x, weight, bias, latest = (x.float() for x in draw(40, 4, "all", batch=3))
    together = _with_input_gradient(impl, x, weight, bias, latest)
    alone = _with_input_gradient(impl, x[1:2], weight, bias, latest[1:2])
    for whole, row in zip(together, alone, strict=True):
        assert torch.equal(whole[1:2], row)


def _with_input_gradient(
    impl: Impl, x: Tensor, weight: Tensor, bias: Tensor | None, latest: Tensor | None
) -> list[Tensor]:
    x = x.clone().requires_grad_()
    with use_impl(impl):
        y, last = short_conv(x, weight, bias, latest, "silu")
    return [y, last, torch.autograd.grad(y.square().sum() + last.sum(), x)[0]]


def check_layouts(impl: Impl) -> None:
    """Inputs that are slices or transposed views of others."""
    x, weight, bias, latest = draw(9, 3, "all")

    def sliced(wide: Tensor, w: Tensor, b: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        return short_conv(wide[:, 1:, 2 : 2 + CHANNELS], w, b, before)

    def transposed(wide: Tensor, w: Tensor, b: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        return short_conv(wide.mT, w.mT, b, before.mT)

    wide = torch.cat((x, x), dim=2)
    check_exact(impl, sliced, [wide, weight, bias, latest])
    views = [x.mT.contiguous(), weight.mT.contiguous(), bias, latest.mT.contiguous()]
    check_exact(impl, transposed, views)


def check_repeats(impl: Impl, run: Callable[[], list[Tensor]]) -> None:
    """Two runs are the same bit for bit."""
    with use_impl(impl):
        assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def check_extremes(impl: Impl) -> None:
    """Large inputs give no NaN, and SiLU neither."""
    x, weight = (1e4 * x.float() for x in draw(6, 3, "plain"))
    for value in _with_input_gradient(impl, x, weight, None, None):
        assert value.isfinite().all()
