"""The layer against a dense softmax over all quantised keys, and contexts step by step."""

import cmath
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

WIDTH, KEY, CODES, CHUNK = 6, 4, 5, 8
CONTEXTS = ("none", "ema", "s4d")


def build(*, causal: bool, context: str, **fields: object) -> torch.nn.Module:
    torch.manual_seed(0)
    given = {"hidden": 7, "key_dim": KEY, "codes": CODES, "chunk": CHUNK, **fields}
    if context != "none":
        given["states"] = 3
    spec = MIXERS["vq_attention"].model_validate({**given, "context": context})
    layer = execute(spec.plan(Place(WIDTH, 1, 0, causal)))
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.nn.init.normal_(layer.attend.bias)
    return layer.double()


def stepwise(context: torch.nn.Module, x: Tensor) -> Tensor:
    """The context of one sequence [T, D], state after state, in real numbers."""
    if not any(True for _ in context.parameters()):
        return x
    system = context.system
    ema = hasattr(system, "damping")
    if ema:
        a, d = system.weight.sigmoid(), system.damping.sigmoid()
        factor_re, factor_im = 1 - a * d, torch.zeros_like(a)
        weight_re, weight_im = a * system.expand * system.gather, torch.zeros_like(a)
    else:
        rate = -system.log_fade.exp() + 1j * system.frequency
        factor = (rate * system.log_step.exp()[:, None]).exp()
        weight = 2 * (system.output[..., 0] + 1j * system.output[..., 1]) * (factor - 1) / rate
        factor_re, factor_im, weight_re, weight_im = (
            factor.real,
            factor.imag,
            weight.real,
            weight.imag,
        )
    re, im = torch.zeros_like(factor_re), torch.zeros_like(factor_re)
    outputs = []
    for token in x:
        re, im = (
            factor_re * re - factor_im * im + token[:, None],
            factor_re * im + factor_im * re,
        )
        outputs.append((weight_re * re - weight_im * im).sum(-1) + system.skip * token)
    return F.silu(torch.stack(outputs))


def dense(layer: torch.nn.Module, x: Tensor, *, causal: bool) -> Tensor:
    """One sequence [T, D]."""
    if causal or type(layer.context).__name__ == "NoContext":
        c = stepwise(layer.context, x)
    else:
        c = stepwise(layer.context.ahead, x) + stepwise(layer.context.back, x.flip(0)).flip(0)
    z = F.silu(c @ layer.shared.weight.T)
    z = (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    q, k = (z * layer.scale[i] + layer.offset[i] for i in (0, 1))
    book = layer.quantiser.codebook
    chosen = torch.stack([(token - book).square().sum(-1).argmin() for token in k])
    far = q @ book[chosen].T
    near = q @ (book[chosen] + k - k.detach()).T
    time = torch.arange(len(x))
    back = time[:, None] - time
    bias = layer.attend.bias[
        (back if causal else back + CHUNK - 1).clamp(0, len(layer.attend.bias) - 1)
    ]
    same = time[:, None] // CHUNK == time // CHUNK
    scores = torch.where(same, near / KEY**0.5 + bias, far / KEY**0.5)
    if causal:
        scores = scores.masked_fill(back < 0, -torch.inf)
    o = scores.softmax(-1) @ F.silu(x @ layer.value.weight.T)
    gated = F.silu(c @ layer.reset.weight.T) * o
    h = F.silu(c @ layer.candidate.weight.T + gated @ layer.out.weight.T)
    g = torch.sigmoid(c @ layer.update.weight.T)
    return g * h + (1 - g) * c


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("time", [1, 2, 7, 8, 33])
def test_equals_a_dense_softmax(time: int, context: str, causal: bool) -> None:
    layer = build(causal=causal, context=context)
    x = torch.randn(1, time, WIDTH, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(time, WIDTH, dtype=torch.float64)
    wanted = [x, *layer.parameters()]
    fast, slow = layer(x)[0], dense(layer, x[0], causal=causal)
    for a, b in zip(
        (fast, *torch.autograd.grad(fast, wanted, cotangent, materialize_grads=True)),
        (slow, *torch.autograd.grad(slow, wanted, cotangent, materialize_grads=True)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    "pieces", [(1,) * 19, (5, 3, 1, 1, 9), (3, 20, 1, 8), (8, 8, 5), (11, 2, 2)]
)
def test_a_split_sequence_equals_the_whole(pieces: tuple[int, ...], context: str) -> None:
    layer = build(causal=True, context=context)
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_the_state_space_is_held_by_zero_order() -> None:
    """Between tokens the input stands still: h' = A h + x over a time of one step."""
    system = build(causal=True, context="s4d").context.system
    log_factor, weight = system.poles(torch.float64)
    rate, step = (
        complex(-system.log_fade[1, 2].exp(), system.frequency[1, 2]),
        system.log_step[1].exp(),
    )
    output = complex(*system.output[1, 2])
    h, parts = 0j, 20_000
    for _ in range(parts):  # small steps of the differential equation
        h += (rate * h + 1) * float(step) / parts
    assert abs(complex(weight[1, 2]) - 2 * output * h) < 1e-3 * abs(h)
    assert abs(complex(log_factor[1, 2].exp()) - cmath.exp(rate * float(step))) < 1e-12


def test_balance_loss_draws_codes_and_keys_together() -> None:
    quantiser = build(causal=True, context="none", commitment=0.5).quantiser
    k = torch.randn(2, 9, KEY, dtype=torch.float64, requires_grad=True)
    replaced, codes = quantiser(k)
    squared = (replaced - k).detach().square()
    assert math.isclose(quantiser.balance_loss.item(), 1.5 * float(squared.mean()), rel_tol=1e-6)
    to_k, to_book = torch.autograd.grad(quantiser.balance_loss, (k, quantiser.codebook))
    torch.testing.assert_close(to_k, (k - replaced) / k.numel(), rtol=1e-5, atol=1e-8)
    pulled = torch.einsum("btc,bts->cs", codes.double(), 2 * (replaced - k) / k.numel())
    torch.testing.assert_close(to_book, pulled, rtol=1e-5, atol=1e-8)


def test_the_gradient_of_a_code_reaches_the_key() -> None:
    quantiser = build(causal=True, context="none").quantiser
    k = torch.randn(1, 3, KEY, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn_like(k)
    (grad,) = torch.autograd.grad(quantiser(k)[0], k, cotangent)
    assert torch.equal(grad, cotangent)
