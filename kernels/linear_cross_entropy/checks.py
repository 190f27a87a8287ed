"""What every implementation of linear cross-entropy is held to."""

import torch
from torch import Tensor

from nas.kernels.linear_cross_entropy.api import linear_cross_entropy
from nas.kernels.runtime.checking import (
    DEVICE,
    check_budget,
    check_exact,
    error,
    poisoned,
    with_gradients,
)
from nas.kernels.runtime.impl import Impl, use_impl

SIZES = [
    # rows, width, vocabulary
    ((1,), 1, 1),
    ((2,), 5, 2),
    ((3, 5), 16, 15),
    ((16,), 17, 16),
    ((17,), 24, 17),
    ((3, 11), 33, 50),
]


def draw(
    rows: tuple[int, ...], width: int, vocab: int, *, bias: bool = False, some: bool = False
) -> list[Tensor]:
    """x, weight, targets and perhaps a bias, in float64; with `some`, a third of the targets do not
    count."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE)

    targets = torch.randint(0, vocab, rows, generator=generator)
    if some:
        targets = torch.where(torch.rand(rows, generator=generator) < 1 / 3, -100, targets)
    inputs = [normal(*rows, width), normal(vocab, width), targets.to(DEVICE)]
    return [*inputs, normal(vocab)] if bias else inputs


def rounded(inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [x.to(dtype) if x.is_floating_point() else x for x in inputs]


def check_values(
    impl: Impl, rows: tuple[int, ...], width: int, vocab: int, bias: bool, some: bool
) -> None:
    check_exact(impl, linear_cross_entropy, draw(rows, width, vocab, bias=bias, some=some))


def check_low_precision(impl: Impl, dtype: torch.dtype, bias: bool) -> None:
    inputs = draw((2, 17), 24, 40, bias=bias, some=True)
    check_budget(impl, linear_cross_entropy, rounded(inputs, dtype))


def check_autocast(impl: Impl) -> None:
    """Inputs are float32, the product is bfloat16, and so it is with the definition."""
    inputs = rounded(draw((2, 17), 24, 40, bias=True, some=True), torch.float32)

    def call(*leaves: Tensor) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=leaves[0].dtype == torch.float32):
            return linear_cross_entropy(*leaves)

    exact = with_gradients(Impl.REFERENCE, call, rounded(inputs, torch.float64))
    mine, honest = (with_gradients(chosen, call, inputs) for chosen in (impl, Impl.REFERENCE))
    for result, slow, true in zip(mine, honest, exact, strict=True):
        assert result.dtype == torch.float32
        assert error(result, true) <= 2 * error(slow, true) + 2 * torch.finfo(torch.bfloat16).eps
    assert error(mine[1], exact[1]) > 1e-5  # the product was not computed in float32


def check_no_target(impl: Impl) -> None:
    x, weight, targets, bias = draw((2, 5), 6, 7, bias=True)
    results = with_gradients(
        impl, linear_cross_entropy, [x, weight, torch.full_like(targets, -100), bias]
    )
    assert all(torch.equal(result, torch.zeros_like(result)) for result in results)


def check_ignored_rows(impl: Impl) -> None:
    """Rows without a target change no gradient of others, not by a bit, and get none."""
    x, weight, targets = rounded(draw((34,), 24, 40), torch.float32)
    more = [torch.cat((x, 3 * x)), weight, torch.cat((targets, torch.full_like(targets, -100)))]
    loss, dx, dweight = with_gradients(impl, linear_cross_entropy, [x, weight, targets])
    same, dx_more, dweight_more = with_gradients(impl, linear_cross_entropy, more)
    torch.testing.assert_close(same, loss)
    assert torch.equal(dx_more, torch.cat((dx, torch.zeros_like(dx))))
    torch.testing.assert_close(dweight_more, dweight)


def check_large_logits(impl: Impl) -> None:
    """Logits far beyond what an exponential can hold, either way."""
    x, weight, targets = draw((17,), 24, 40)
    inputs = rounded([x * 1000, weight, targets], torch.float32)
    assert all(
        result.isfinite().all() for result in with_gradients(impl, linear_cross_entropy, inputs)
    )
    check_budget(impl, linear_cross_entropy, inputs)


def check_strides(impl: Impl) -> None:
    """Inputs that are not contiguous."""
    x, weight, targets, bias = draw((3, 8), 20, 34, bias=True, some=True)

    def call(x: Tensor, weight: Tensor, targets: Tensor, bias: Tensor) -> Tensor:
        return linear_cross_entropy(x.transpose(0, 1), weight.T, targets.T, bias[::2])

    check_exact(impl, call, [x, weight.T.contiguous(), targets, bias.repeat_interleave(2)])


def check_repeats(impl: Impl) -> None:
    inputs = rounded(draw((34,), 24, 40, bias=True, some=True), torch.float32)
    first, second = (with_gradients(impl, linear_cross_entropy, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_frozen(impl: Impl) -> None:
    """The loss is the same without gradients, and each gradient without the others."""
    inputs = draw((34,), 24, 40, bias=True, some=True)
    everything = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    with use_impl(impl), poisoned():
        with torch.no_grad():
            alone = linear_cross_entropy(*everything)
        assert not alone.requires_grad
        linear_cross_entropy(*everything).backward()
        for index in (0, 1, 3):
            some = [*inputs]
            some[index] = inputs[index].clone().requires_grad_()
            loss = linear_cross_entropy(*some)
            torch.testing.assert_close(loss.detach(), alone)
            (gradient,) = torch.autograd.grad(loss, some[index])
            torch.testing.assert_close(gradient, everything[index].grad)
