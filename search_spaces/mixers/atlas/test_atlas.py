"""The layer against the equations of its README: autograd's own gradients, one token at a time."""

from itertools import combinations_with_replacement
from math import factorial, prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.atlas.module import omega_pieces
from nas.search_spaces.pieces.omega_step.module import newton_schulz

WIDTH = 12
OPTIONS = {
    "defaults": {"chunk": 4},
    "exact": {"chunk": 1, "window": 3, "degree": 1, "optimiser": "momentum"},
    "online": {"window": 1, "chunk": 4, "optimiser": "gd", "output_gate": False},
    "titans": {"window": 1, "hidden": 3, "degree": 1, "optimiser": "momentum", "conv": 1},
    "omeganet": {"window": 6, "chunk": 4, "hidden": 7, "optimiser": "gd"},
    "deep muon": {"window": 2, "chunk": 3, "hidden": 5, "degree": 1, "newton_steps": 2},
    "third degree": {"degree": 3, "window": 5, "chunk": 2, "optimiser": "gd"},
}


def features(layer: Any, spec: Any, x: Tensor) -> Tensor:
    """Products of channels of unit vectors [K]."""
    if spec.degree == 1:
        return x
    powers = [
        a * prod(x[i] for i in chosen)
        for n, a in enumerate(layer.features.series, start=1)
        for chosen in combinations_with_replacement(range(len(x)), n)
    ]
    return torch.stack(powers) / torch.stack(powers).norm()


def apply(memory: list[Tensor], x: Tensor) -> Tensor:
    """A memory of one or two matrices at [F]."""
    return x @ memory[0] if len(memory) == 1 else F.silu(x @ memory[0]) @ memory[1]


def iterate(x: Tensor, steps: int) -> Tensor:
    """Newton-Schulz by its polynomial, as it stands."""
    x = x / (x.square().sum() + 1e-12).sqrt()
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x


def one_head(
    layer: Any, spec: Any, head: int, q: Tensor, k: Tensor, v: Tensor, x: Tensor
) -> Tensor:
    """The reads of one head: q, k, v [T, K], x [T, D] -> [T, K]"""
    alpha = layer.retain(x)[:, head].sigmoid()
    eta = layer.rate(x)[:, head].sigmoid() / spec.chunk
    gamma = layer.weight(x)[:, head].sigmoid() / spec.window
    theta = layer.step.theta(x)[:, head].sigmoid() if spec.optimiser != "gd" else 0 * alpha
    q, k = (torch.stack([features(layer, spec, row) for row in rows]) for rows in (q, k))
    memory = [torch.zeros(k.shape[1], v.shape[1], dtype=x.dtype)]
    if spec.hidden:
        memory = [layer.memory.enter[head], layer.memory.leave[head]]
    momentum = [torch.zeros_like(weights) for weights in memory]
    reads = []
    for t in range(len(x)):
        if t % spec.chunk == 0:
            start = [weights + 0 for weights in memory]
            if not start[0].requires_grad:
                start = [weights.requires_grad_() for weights in start]
        loss = sum(
            gamma[i] * (apply(start, k[i]) - v[i]).square().sum() / 2
            for i in range(max(0, t - spec.window + 1), t + 1)
        )
        gradients = torch.autograd.grad(loss, start, create_graph=True)
        momentum = [theta[t] * s + u for s, u in zip(momentum, gradients, strict=True)]
        steps = momentum
        if spec.optimiser == "muon":
            steps = [iterate(s, spec.newton_steps) for s in momentum]
        memory = [alpha[t] * w - eta[t] * p for w, p in zip(memory, steps, strict=True)]
        reads.append(apply(memory, q[t]))
    return torch.stack(reads)


def sequential(layer: Any, spec: Any, x: Tensor) -> Tensor:
    """The README's equations for one sequence [T, D]."""
    mixed = layer.qkv(x)
    if spec.conv > 1:
        taps, padded = layer.conv.conv.weight[:, 0], F.pad(mixed, (0, 0, spec.conv - 1, 0))
        mixed = sum(taps[:, i] * padded[i : i + len(x)] for i in range(spec.conv))
    q, k, v = (part.unflatten(1, (spec.heads, -1)) for part in F.silu(mixed).chunk(3, dim=-1))
    q, k = (u / u.norm(dim=-1, keepdim=True) for u in (q, k))
    heads = [one_head(layer, spec, h, q[:, h], k[:, h], v[:, h], x) for h in range(spec.heads)]
    o = layer.norm(torch.stack(heads, dim=1)).flatten(1)
    if spec.output_gate:
        o = o * F.silu(layer.output_gate.gate(x))
    return layer.out(o)


@pytest.mark.parametrize(("heads", "time"), [(2, 1), (1, 2), (2, 7), (1, 13)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_equations(options: dict[str, Any], heads: int, time: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["atlas"](heads=heads, head_dim=4, **options)
    layer = execute(spec.plan(Place(WIDTH, 1, 0))).double()
    x = torch.randn(time, WIDTH, dtype=torch.float64, requires_grad=True)
    inputs, weights = [x, *layer.parameters()], torch.randn(time, WIDTH, dtype=torch.float64)
    fast, slow = layer(x[None])[0], sequential(layer, spec, x)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-10)
    gradients = [
        torch.autograd.grad(y, inputs, weights, materialize_grads=True) for y in (fast, slow)
    ]
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_repeated_token_does_not_make_the_memory_grow(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    spec = MIXERS["atlas"](heads=2, head_dim=4, **options)
    layer = execute(spec.plan(Place(WIDTH, 1, 0)))
    state = layer.empty_state()
    with torch.no_grad():
        layer(torch.randn(1, 1, WIDTH).expand(1, 300, WIDTH), state)
    assert all(x.abs().max() < 20 for tensors in state.moving for x in tensors)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 5, 5), (2, 4, 9), (2, 9, 4)):
        x = torch.randn(shape, dtype=torch.float64)
        u, before, v = torch.linalg.svd(x, full_matrices=False)
        s = before / before.square().sum(-1, keepdim=True).sqrt()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        torch.testing.assert_close(newton_schulz(x, 5), u @ torch.diag_embed(s) @ v)
        large = s[before > 0.1 * before.max()]
        assert ((large > 0.6) & (large < 1.3)).all()


def test_pieces_end_with_their_chunks() -> None:
    assert omega_pieces(0, 8, 4) == [4, 4]
    assert omega_pieces(3, 6, 4) == [1, 4, 1]
    assert omega_pieces(5, 1, 4) == [1]
    assert omega_pieces(7, 3, 1) == [1, 1, 1]


def test_the_series_starts_as_the_exponential() -> None:
    spec = MIXERS["atlas"](heads=1, head_dim=4, degree=3)
    layer = execute(spec.plan(Place(WIDTH, 1, 0)))
    expected = torch.tensor([1 / factorial(n) for n in (1, 2, 3)])
    torch.testing.assert_close(layer.features.series.detach(), expected)
