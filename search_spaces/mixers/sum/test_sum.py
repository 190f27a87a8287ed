"""Composites against their definition: the same branches, run one by one."""

from typing import Any

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

AT = Place(16, 1, 0)
ATTENTION = {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 8}
RECURRENCE = {"kind": "gated_linear", "heads": 2, "head_dim": 8}
SHORT = {"kind": "gated_short_conv"}


def built(at: Place = AT, **fields: Any) -> Any:
    torch.manual_seed(0)
    return execute(MIXERS[fields["kind"]].model_validate(fields).plan(at)).double()


def same(actual: torch.Tensor, expected: torch.Tensor, module: Any) -> None:
    """Values, and gradients of every parameter."""
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(expected)
    parameters = list(module.parameters())
    found = torch.autograd.grad((actual * weight).sum(), parameters)
    wanted = torch.autograd.grad((expected * weight).sum(), parameters)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("time", [1, 7, 33])
@pytest.mark.parametrize("mixture", ["sum", "mean", "learned"])
def test_a_sum_is_that_of_its_branches(mixture: str, time: int) -> None:
    module = built(kind="sum", branches=[ATTENTION, RECURRENCE, SHORT], mixture=mixture)
    x = torch.randn(2, time, 16, dtype=torch.float64)
    outputs = [branch(x) for branch in module.branches]
    if mixture == "learned":
        torch.nn.init.normal_(module.mixture.logits)
        shares = module.mixture.logits[:, 0, 0].exp()
        shares = shares / shares.sum(0)
        expected = sum(share * y for share, y in zip(shares, outputs, strict=True))
    else:
        expected = sum(outputs) / (3 if mixture == "mean" else 1)
    same(module(x), expected, module)


@pytest.mark.parametrize("time", [1, 7, 33])
def test_each_stage_of_a_series_reads_what_the_ones_before_have_added(time: int) -> None:
    module = built(kind="series", stages=[ATTENTION, SHORT, RECURRENCE], norm={"kind": "layer"})
    x = torch.randn(2, time, 16, dtype=torch.float64)
    y = module.stages[0](x)
    y = y + module.stages[1](module.norms[0](x + y))
    y = y + module.stages[2](module.norms[1](x + y))
    same(module(x), y, module)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("time", [1, 7, 33])
def test_both_directions_are_added(shared: bool, time: int) -> None:
    place = AT._replace(causal=False)
    module = built(place, kind="bidirectional", mixer=RECURRENCE, shared=shared)
    ahead, back = (module.mixer,) * 2 if shared else (module.ahead, module.back)
    x = torch.randn(2, time, 16, dtype=torch.float64)
    order = list(range(time))[::-1]
    same(module(x), ahead(x) + back(x[:, order])[:, order], module)


def test_a_composite_holds_no_composite() -> None:
    inner = {"kind": "sum", "branches": [ATTENTION, SHORT]}
    with pytest.raises(ValueError, match="sum"):
        MIXERS["sum"].model_validate({"kind": "sum", "branches": [inner, ATTENTION]})
