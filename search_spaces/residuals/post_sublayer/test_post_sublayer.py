"""The residual against its equation."""

import pytest
import torch
from torch import nn

from nas.plan import Call, execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import RESIDUALS


@pytest.mark.parametrize("norm", ["rms", "layer", "none"])
def test_equals_the_equation(norm: str) -> None:
    torch.manual_seed(0)
    spec = RESIDUALS["post_sublayer"].model_validate(
        {"kind": "post_sublayer", "norm": {"kind": norm}}
    )
    inner = Call("nas.search_spaces.ffns.gelu.module:GELU", _GELU)
    wrapped = execute(spec.wrap_plan(Place(8, 1, 0), inner)).double()
    for name, weight in wrapped.norm.named_parameters():
        nn.init.normal_(weight, mean=float(name == "weight"))
    x = torch.randn(2, 7, 8, dtype=torch.float64, requires_grad=True)
    added = wrapped.inner(x)
    expected = x + _normalised(norm, added, wrapped.norm)
    torch.testing.assert_close(wrapped(x), expected, rtol=1e-12, atol=1e-12)
    _same_gradients(wrapped(x), expected, [x, *wrapped.parameters()])


_GELU = {"dim": 8, "hidden": 12, "bias": False, "approximate": "none"}


def _normalised(norm: str, x: torch.Tensor, module: nn.Module) -> torch.Tensor:
    if norm == "none":
        return x
    if norm == "rms":
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * module.weight
    centred = x - x.mean(-1, keepdim=True)
    size = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / size * module.weight + module.bias


def _same_gradients(actual: torch.Tensor, expected: torch.Tensor, of: list[torch.Tensor]) -> None:
    mix = torch.randn_like(expected)
    got = torch.autograd.grad((actual * mix).sum(), of)
    want = torch.autograd.grad((expected * mix).sum(), of)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
