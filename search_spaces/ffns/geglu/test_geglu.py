"""The FFN against its equation, with erf and with tanh."""

import math

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import FFNS


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_equals_the_equation(approximate: str, bias: bool) -> None:
    torch.manual_seed(0)
    spec = FFNS["geglu"](hidden=11, bias=bias, approximate=approximate)
    ffn = execute(spec.plan(Place(6, 1, 0))).double()
    x = torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    u = ffn.gate(x)
    if approximate == "tanh":
        gate = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
    else:
        gate = 0.5 * u * (1 + torch.erf(u / math.sqrt(2)))
    expected = ffn.down(gate * ffn.up(x))
    torch.testing.assert_close(ffn(x), expected, rtol=1e-12, atol=1e-13)
    mix = torch.randn_like(expected)
    of = [x, *ffn.parameters()]
    got = torch.autograd.grad((ffn(x) * mix).sum(), of)
    want = torch.autograd.grad((expected * mix).sum(), of)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
