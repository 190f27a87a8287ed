"""The layer against the equations of its README: averages step by step, attention pair by pair."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM, KEY, VALUE, CHUNK = 6, 3, 5, 8
LONG = {
    "ema": {"long_operator": "ema", "ema_states": 4},
    "one average": {"long_operator": "ema", "ema_states": 1},
    "convolutions": {"conv_width": 3, "conv_layers": 2, "dilation_factor": 3},
}


def build(causal: bool, long: str) -> nn.Module:
    torch.manual_seed(0)
    numbers = {"key_dim": KEY, "value_dim": VALUE, "chunk": CHUNK, **LONG[long]}
    spec = MIXERS["chunked_conv_attention"](**numbers)
    layer = execute(spec.plan(Place(DIM, 1, 0, causal))).double()
    with torch.no_grad():  # the biases start at zero, where a wrong distance would not show
        layer.attend.bias.normal_()
        layer.query_shift.normal_()
    return layer


def averaged(part: nn.Module, x: Tensor) -> Tensor:
    """The recurrence of the averages: x [T, D] -> [T, D]"""
    p, d = part.rate.sigmoid(), part.damping.sigmoid()
    h = torch.zeros_like(p)
    outputs = []
    for token in x:
        h = p * part.write * token[:, None] + (1 - p * d) * h
        outputs.append((part.read * h).sum(1) / h.shape[1] ** 0.5)
    return torch.stack(outputs)


def convolved(conv: nn.Conv1d, x: Tensor, spacing: int, causal: bool) -> Tensor:
    rows = []
    for t in range(len(x)):
        total = conv.bias
        for j in range(3):
            place = t - j * spacing + (0 if causal else spacing)
            if 0 <= place < len(x):
                total = total + conv.weight[:, 0, 2 - j] * x[place]
        rows.append(total)
    return torch.stack(rows)


def smoothed(layer: nn.Module, x: Tensor, long: str, causal: bool) -> Tensor:
    if long == "convolutions":
        for i, step in enumerate(layer.smooth.layers):
            x = x + convolved(step.conv.conv, x, 3**i, causal).relu()
        return x
    averages = layer.smooth.averages
    if causal:
        y = averaged(averages, x)
    else:
        y = averaged(averages.before, x) + averaged(averages.after, x.flip(0)).flip(0)
    return F.silu(y + layer.smooth.skip * x)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize("time", [1, 2, 7, 8, 33])
def test_equals_the_equations(time: int, long: str, causal: bool) -> None:
    layer = build(causal, long)
    middle = 0 if causal else CHUNK - 1

    def attended(q: Tensor, k: Tensor, v: Tensor, t: int) -> Tensor:
        first = t // CHUNK * CHUNK
        seen = range(first, t + 1 if causal else min(first + CHUNK, time))
        bias = layer.attend.bias
        scores = [(q[t] * k[s]).sum() / KEY**0.5 + bias[t - s + middle] for s in seen]
        weights = torch.stack(scores).exp()
        return sum(w * v[s] for w, s in zip(weights, seen, strict=True)) / weights.sum()

    def reference(x: Tensor) -> Tensor:
        x = x[0]
        smooth = smoothed(layer, x, long, causal)
        z = F.silu(layer.shared(smooth))
        q, k = layer.query_scale * z + layer.query_shift, layer.key_scale * z
        v = F.silu(layer.value(x))
        o = torch.stack([attended(q, k, v, t) for t in range(time)])
        gamma, phi = F.silu(layer.reset(smooth)), layer.update(smooth).sigmoid()
        h = F.silu(layer.candidate(smooth) + layer.attended(gamma * o))
        return (phi * h + (1 - phi) * x - x)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18), (8, 8, 4), (3, 5, 1, 11)])
def test_pieces_equal_the_whole(splits: tuple[int, ...], long: str) -> None:
    layer = build(True, long)
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)
