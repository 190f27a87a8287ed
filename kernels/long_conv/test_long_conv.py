"""Long convolution: the Fourier form against the direct sum, in values, gradients and cost."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.long_conv import chunked, cost, reference
from nas.kernels.long_conv.api import long_conv
from nas.kernels.runtime.impl import Impl, use_impl

CHANNELS = 3


def draw(time: int, length: int, past: int | None) -> list[Tensor]:
    """x, taps and possibly past inputs in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, CHANNELS, time), (CHANNELS, length)]
    if past is not None:
        shapes.append((2, CHANNELS, past))
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradient of every input for a fixed random cotangent."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl):
        y = long_conv(*leaves)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y, *torch.autograd.grad(y, leaves, cotangent)]


def error(result: Tensor, exact: Tensor) -> float:
    """Largest error, relative to the largest exact value unless that is 0."""
    scale = float(exact.detach().abs().max()) or 1.0
    return float((result.double() - exact).detach().abs().max()) / scale


@pytest.mark.parametrize("past", [None, 1, 9])
@pytest.mark.parametrize("length", [1, 2, 7, 40])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_the_fast_form_is_the_definition(time: int, length: int, past: int | None) -> None:
    inputs = draw(time, length, past)
    for fast, slow in zip(
        with_gradients(Impl.CHUNKED, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True
    ):
        assert error(fast, slow) < 1e-12


def test_the_definition_is_the_formula() -> None:
    x, taps, past = draw(5, 4, 2)
    inputs = torch.cat((past, x), dim=2)
    for channel in range(CHANNELS):
        for t in range(5):
            seen = [inputs[:, channel, t + 2 - j] for j in range(4) if t + 2 - j >= 0]
            exact = sum(taps[channel, j] * value for j, value in enumerate(seen))
            assert error(reference.long_conv(x, taps, past)[:, channel, t], exact) < 1e-14


@pytest.mark.parametrize("impl", [Impl.CHUNKED, Impl.REFERENCE])
def test_past_inputs_continue_a_sequence(impl: Impl) -> None:
    x, taps = draw(20, 12, None)
    with use_impl(impl):
        whole = long_conv(x, taps)
        parts = [
            long_conv(x[:, :, start:end], taps, x[:, :, :start])
            for start, end in ((0, 7), (7, 8), (8, 20))
        ]
    assert error(torch.cat(parts, dim=2), whole) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_as_good_as_the_definition_in_it(dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in draw(65, 65, None)]
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    for mine, true in zip(with_gradients(Impl.CHUNKED, low), exact, strict=True):
        assert mine.dtype == dtype
        # the cotangent is rounded too
        assert error(mine, true) <= 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("time", [1, 2, 9, 64])
def test_cost_is_what_a_counter_sees(time: int) -> None:
    with FlopCounterMode(display=False) as counter:
        chunked.long_conv(*draw(time, 64, 3))
    assert counter.get_total_flops() == 0


@pytest.mark.parametrize(("time", "length"), [(2, 64), (9, 4), (64, 64), (65, 100)])
def test_transforms_hold_inputs_and_filter(
    time: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x, n: (sizes.append(n), forward(x, n=n))[1])
    chunked.long_conv(*draw(time, length, None))
    assert set(sizes) == {cost.transform_length(time, length)}
    assert sizes[0] >= time + min(length, time) - 1
    spectrum = 2 * (sizes[0] // 2 + 1)
    assert spectrum <= time * cost.scratch_values_per_token(time, length) < spectrum + time


@pytest.mark.parametrize("broken", range(3))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(6, 6, 6)
    inputs[broken] = inputs[broken].unsqueeze(0) if broken == 0 else inputs[broken][..., :2, :]
    with pytest.raises(ValueError, match=rf"long_conv: {('x', 'taps', 'past')[broken]} must be"):
        long_conv(*inputs)


@pytest.mark.parametrize("empty", range(2))
def test_nothing_to_convolve_is_refused(empty: int) -> None:
    inputs = draw(6, 6, None)
    inputs[empty] = inputs[empty][..., :0]
    with pytest.raises(ValueError, match=">= 1"):
        long_conv(*inputs)


def test_transforms_are_torchs_own_in_triton_too() -> None:
    inputs = draw(5, 9, None)
    with use_impl(Impl.TRITON):
        assert torch.equal(long_conv(*inputs), chunked.long_conv(*inputs))


def test_one_signature() -> None:
    assert (
        chunked.long_conv.__annotations__
        == reference.long_conv.__annotations__
        == long_conv.__annotations__
    )
