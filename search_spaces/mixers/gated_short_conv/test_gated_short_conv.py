"""The layer against the equations of its README, one token after another."""

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize(
    "numbers", [{}, {"conv": 2, "expand": 2}, {"conv": 5, "bias": True, "conv_bias": True}], ids=str
)
def test_equals_the_equations(numbers: dict[str, int], time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["gated_short_conv"](**numbers)
    layer = execute(spec.plan(Place(6, 1, 0))).double()
    x = torch.randn(time, 6, dtype=torch.float64, requires_grad=True)
    kernel, bias = layer.conv.conv.weight[:, 0], layer.conv.conv.bias

    b, c, v = layer.enter(x).split(6 * spec.expand, dim=-1)
    outputs = []
    for t in range(time):
        reach = min(spec.conv, t + 1)
        z = sum(kernel[:, spec.conv - 1 - i] * b[t - i] * v[t - i] for i in range(reach))
        outputs.append(layer.out(c[t] * (z if bias is None else z + bias)))
    slow, mine = torch.stack(outputs), layer(x[None])[0]
    torch.testing.assert_close(mine, slow, rtol=1e-11, atol=1e-13)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-10, atol=1e-12)
