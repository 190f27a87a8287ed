"""The layer against the equations of its README, one group and one token after another."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

SIZE, LATENTS, WIDTH = 4, 2, 4
"""Tokens and latents of a group, and channels of a head."""


def layer_with(causal: bool, heads: int, layers: int, position: str) -> Any:
    torch.manual_seed(0)
    spec = MIXERS["group_latents"](
        heads=heads,
        head_dim=WIDTH,
        group_size=SIZE,
        latents=LATENTS,
        latent_layers=layers,
        position={"kind": position},
    )
    return execute(spec.plan(Place(16, 1, 0, causal))).double()


class Reference:
    """One sequence x [T, D]."""

    def __init__(self, layer: Any, x: Tensor, causal: bool, heads: int) -> None:
        self.layer, self.x, self.causal, self.heads = layer, x, causal, heads
        ends = range(SIZE, len(x) + 1, SIZE) if causal else range(SIZE, len(x) + SIZE, SIZE)
        self.groups = [x[end - SIZE : end] for end in ends]

    def output(self) -> Tensor:
        """[T, D]"""
        latents = self.latents()
        rows = [torch.cat((self.local(t), self.distant(t, latents))) for t in range(len(self.x))]
        return torch.stack(rows) @ self.layer.out.weight.T

    def local(self, t: int) -> Tensor:
        first = t // SIZE * SIZE
        seen = slice(first, t + 1) if self.causal else slice(first, first + SIZE)
        found = []
        for head in range(self.heads):
            q, k, v = (self.product(self.layer, name, self.x, head) for name in "qkv")
            q, k = self.turned(self.layer, q), self.turned(self.layer, k)
            found.append(retrieve(q[t], k[seen], v[seen]))
        return torch.cat(found)

    def latents(self) -> list[Tensor]:
        """Of each group, after all latent layers: [m, D]"""
        read = self.layer.read
        z = []
        for group in self.groups:
            for i in range(LATENTS):
                found = []
                for head in range(self.heads):
                    k, v = (self.product(read, name, group, head) for name in "kv")
                    found.append(retrieve(read.query[head, i], k, v))
                z.append(read.latents[i] + read.out.weight @ torch.cat(found))
        if not z:
            return []
        z = torch.stack(z)
        for layer in self.layer.layers:
            z = z + self.mixed(layer, z)
        return list(z.split(LATENTS))

    def mixed(self, layer: Any, z: Tensor) -> Tensor:
        outputs, normed = [], rms(z, layer.norm.weight)
        for i in range(len(z)):
            end = (i // LATENTS + 1) * LATENTS if self.causal else len(z)
            found = []
            for head in range(self.heads):
                q, k, v = (self.product(layer, name, normed, head) for name in "qkv")
                q, k = self.turned(layer, q), self.turned(layer, k)
                found.append(retrieve(q[i], k[:end], v[:end]))
            outputs.append(layer.out.weight @ torch.cat(found))
        return torch.stack(outputs)

    def distant(self, t: int, latents: list[Tensor]) -> Tensor:
        write, group = self.layer.write, t // SIZE - self.causal
        found = []
        for head in range(self.heads):
            q = self.product(write, "q", self.x[t : t + 1], head)[0]
            if group < 0:
                k, v = self.layer.before[:, head]
            else:
                z = rms(latents[group], write.norm.weight)
                k, v = (self.product(write, name, z, head) for name in "kv")
            found.append(retrieve(q, k, v))
        return torch.cat(found)

    def product(self, module: Any, name: str, x: Tensor, head: int) -> Tensor:
        weight = {"q": "query", "k": "key", "v": "value"}[name]
        rows = slice(head * WIDTH, (head + 1) * WIDTH)
        return x @ getattr(module, weight).weight[rows].T

    def turned(self, module: Any, x: Tensor) -> Tensor:
        return module.position(x[None, None], 0)[0, 0]


def retrieve(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (k @ q / WIDTH**0.5).softmax(0) @ v


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("heads", "layers", "position"), [(1, 1, "none"), (3, 1, "rotary"), (2, 2, "rotary")]
)
@pytest.mark.parametrize("time", [1, 2, 4, 7, 8, 19])
def test_equals_the_equations(
    causal: bool, heads: int, layers: int, position: str, time: int
) -> None:
    layer = layer_with(causal, heads, layers, position)
    x = torch.randn(time, 16, dtype=torch.float64, requires_grad=True)
    wanted, towards = [x, *layer.parameters()], torch.randn(time, 16, dtype=torch.float64)
    y, expected = layer(x[None])[0], Reference(layer, x, causal, heads).output()
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-11)
    found = torch.autograd.grad(
        (y * towards).sum(), wanted, materialize_grads=True, allow_unused=True
    )
    right = torch.autograd.grad(
        (expected * towards).sum(), wanted, materialize_grads=True, allow_unused=True
    )
    torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("pieces", [[1] * 19, [3, 9, 1, 6], [4, 4, 11], [2, 1, 1, 15], [13, 6]])
@torch.no_grad()
def test_pieces_equal_the_whole(pieces: list[int]) -> None:
    """Cut within groups, at their ends, and across several."""
    layer = layer_with(True, 2, 2, "rotary")
    x = torch.randn(2, 19, 16, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_the_cache_grows_with_complete_groups() -> None:
    layer, x = layer_with(True, 2, 1, "none"), torch.randn(1, 19, 16, dtype=torch.float64)
    state, held = layer.empty_state(), []
    for token in x.split(1, dim=1):
        layer(token, state)
        held.append(state.values_held())
    fixed = (4 * SIZE + 2 * LATENTS) * 2 * WIDTH
    assert held == [fixed + (t + 1) // SIZE * 2 * LATENTS * 2 * WIDTH for t in range(19)]
