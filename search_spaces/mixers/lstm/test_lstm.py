"""The layer against the equations of its README, one token after another."""

import pytest
import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS


def by_the_equations(lstm: nn.LSTM, x: Tensor, suffix: str) -> Tensor:
    """One direction of one sequence [T, D] -> [T, H]."""
    read, recur = (getattr(lstm, f"weight_{name}_l0{suffix}") for name in ("ih", "hh"))
    bias = sum(getattr(lstm, f"bias_{name}_l0{suffix}") for name in ("ih", "hh"))
    h = c = torch.zeros(lstm.hidden_size, dtype=x.dtype)
    seen = []
    for token in x:
        i, f, g, o = (read @ token + recur @ h + bias).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        seen.append(h)
    return torch.stack(seen)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both directions"])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, causal: bool) -> None:
    torch.manual_seed(0)
    place = Place(6, 1, 0, causal)
    spec = MIXERS["lstm"](hidden=5)
    layer = execute(spec.plan(place)).double()
    assert sum(p.numel() for p in layer.parameters()) == spec.cost(place, 8).params
    x = torch.randn(time, 6, dtype=torch.float64, requires_grad=True)
    slow = by_the_equations(layer.lstm, x, "")
    if not causal:
        backwards = by_the_equations(layer.lstm, x.flip(0), "_reverse").flip(0)
        slow = torch.cat((slow, backwards), dim=-1)
    slow, mine = layer.out(slow), layer(x[None])[0]
    torch.testing.assert_close(mine, slow, rtol=1e-10, atol=1e-12)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-9, atol=1e-11)


def test_forget_gates_start_open() -> None:
    torch.manual_seed(0)
    layer = execute(MIXERS["lstm"](hidden=50).plan(Place(6, 1, 0)))
    bias = layer.lstm.bias_ih_l0.detach() + layer.lstm.bias_hh_l0.detach()
    _, forget, _, out = bias.chunk(4)
    assert 0.9 < forget.mean() < 1.1
    assert -0.1 < out.mean() < 0.1
