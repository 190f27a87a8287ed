"""What every implementation of linear attention is held to."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nas.kernels.linear_attention.api import linear_attention
from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact, error, with_gradients
from nas.kernels.runtime.impl import Impl, use_impl

KEY, VALUE = 5, 7
DECAYS = {"token": "BHT1", "head": "1H11", "channel": "BHTK", "head channel": "1H1K", "one": "1111"}
"""Shapes of log_decay by the letters of its axes."""


def draw(
    heads: int, time: int, decay: str, *, batch: int = 2, key: int = KEY, value: int = VALUE
) -> list[Tensor]:
    """q, k, v, log_decay and a state in float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE)

    sizes = {"B": batch, "H": heads, "T": time, "K": key, "1": 1}
    log_decay = -softplus(normal(*(sizes[axis] for axis in DECAYS[decay])))
    lines, state = (batch, heads, time), (batch, heads, key, value)
    q, k, v = normal(*lines, key), normal(*lines, key), normal(*lines, value)
    return [q, k, v, log_decay, normal(*state)]


def check_values(impl: Impl, inputs: list[Tensor]) -> None:
    check_exact(impl, linear_attention, inputs)


def check_low_precision(impl: Impl, inputs: list[Tensor], dtype: torch.dtype) -> None:
    check_budget(impl, linear_attention, [x.to(dtype) for x in inputs])


def check_coarse_decays(impl: Impl, inputs: list[Tensor]) -> None:
    """As ``check_budget``, for a form that finds the gradient of the decays as a difference.

    That gradient may be small beside the terms of the difference, sums of q dq and of k dk over
    time. It has to be exact in proportion to them.
    """
    log_decay = inputs[3]

    def fixed(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return linear_attention(q, k, v, log_decay.to(q.dtype), state)

    check_budget(impl, fixed, [*inputs[:3], inputs[4]])
    exact = with_gradients(Impl.REFERENCE, linear_attention, [x.double() for x in inputs])
    mine = with_gradients(impl, linear_attention, inputs)
    q, k, dq, dk = inputs[0].double(), inputs[1].double(), exact[2], exact[3]
    terms = ((q * dq).abs() + (k * dk).abs()).sum(dim=2, keepdim=True)
    size = terms.sum_to_size(
        *(min(a, b) for a, b in zip(terms.shape, log_decay.shape, strict=True))
    )
    off = (mine[5].double() - exact[5]).abs().max()
    assert off <= 4 * torch.finfo(log_decay.dtype).eps * size.max()


def draw_rate(rate: float, width: int, time: int) -> list[Tensor]:
    """Inputs in float32 with one decay everywhere."""
    inputs = [x.float() for x in draw(1, time, "one", batch=1)]
    inputs[3] = torch.full((1, 1, time, width), rate, device=DEVICE)
    return inputs


def check_rate(impl: Impl, rate: float, width: int, time: int) -> None:
    check_budget(impl, linear_attention, draw_rate(rate, width, time))


def check_any_decay(impl: Impl, width: int, time: int) -> None:
    """Decays from none to all of the state: nothing overflows, and nothing weak drowns."""
    inputs = [x.float() for x in draw(1, time, "one", batch=1)]
    rates = torch.tensor([-1e4, -1e-3, -1.0, -30.0, -1e-3, -1e-3, -100.0], device=DEVICE)
    steps = torch.arange(time, device=DEVICE)[:, None] + 3 * torch.arange(width, device=DEVICE)
    inputs[3] = rates[steps % len(rates)].expand(1, 1, time, width)
    check_budget(impl, linear_attention, inputs)


def check_strongest(impl: Impl, width: int, time: int) -> None:
    results = with_gradients(impl, linear_attention, draw_rate(-1e4, width, time))
    assert all(x.isfinite().all() for x in results)


def check_split(impl: Impl, decay: str, cuts: list[int]) -> None:
    """The state carried over cuts gives what the whole gives."""
    *inputs, state = draw(1, cuts[-1], decay)
    with use_impl(impl):
        whole, last = linear_attention(*[*inputs, state])
        parts = []
        for start, end in zip([0, *cuts], cuts, strict=False):
            o, state = linear_attention(*[*(x[:, :, start:end] for x in inputs), state])
            parts.append(o)
    assert error(torch.cat(parts, dim=2), whole) < 1e-12
    assert error(state, last) < 1e-12


def check_causal(impl: Impl, decay: str, time: int, change: int, bound: float) -> None:
    """A change in the future changes nothing before it, but for rounding within the bound."""
    inputs = draw(1, time, decay)[:4]
    with use_impl(impl):
        before, _ = linear_attention(*inputs)
        for x in inputs:
            x[:, :, change:] *= 0.5
        after, _ = linear_attention(*inputs)
    assert error(after[:, :, :change], before[:, :, :change]) <= bound
    assert not torch.equal(before[:, :, change:], after[:, :, change:])


def check_repeats(impl: Impl, decay: str, time: int) -> None:
    """Runs come out the same bit for bit."""
    inputs = [x.float() for x in draw(1, time, decay, batch=1)]
    first, second = (with_gradients(impl, linear_attention, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_alone(impl: Impl, decay: str, time: int) -> None:
    """A row of a batch comes out as it does alone, bit for bit, and so do its gradients."""
    inputs = [x.float() for x in draw(1, time, decay, batch=2)]

    def run(rows: slice) -> list[Tensor]:
        leaves = [x[rows].detach().clone().requires_grad_() for x in inputs]
        with use_impl(impl):
            results = linear_attention(*leaves)
        return [*results, *torch.autograd.grad([(x * x).sum() for x in results], leaves)]

    both, alone = run(slice(0, 2)), run(slice(1, 2))
    assert all(torch.equal(a[1:], b) for a, b in zip(both, alone, strict=True))


def check_layouts(impl: Impl, decay: str, time: int) -> None:
    """How inputs and the gradient of the output lie in memory makes no difference."""
    inputs = draw(2, time, decay, batch=1)

    def run(*given: Tensor, token_major: bool) -> list[Tensor]:
        leaves = [x.detach().requires_grad_() for x in given]
        with use_impl(impl):
            o, last = linear_attention(*leaves)
        torch.manual_seed(1)
        weights = torch.randn(o.shape, dtype=o.dtype).to(o)
        if token_major:
            weights = weights.mT.contiguous().mT
        return [o, last, *torch.autograd.grad((o * weights).sum() + last.sum(), leaves)]

    odd = [torch.stack([x, x], dim=-1)[..., 0] for x in inputs]
    turned = inputs[0].transpose(1, 2).contiguous().transpose(1, 2)
    plain = run(*inputs, token_major=False)
    for moved in (odd, [turned, *inputs[1:]]):
        found = run(*moved, token_major=True)
        assert all(error(a, b) < 1e-12 for a, b in zip(found, plain, strict=True))
