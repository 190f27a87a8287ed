"""The unit against dense matrices of weights, written from the equations of the README."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

WIDTH, CHUNK = 12, 8
CASES = [
    {},
    {"gating": "double", "conv": 0},
    {"branches": "local", "conv": 3},
    {"branches": "global", "conv": 0, "gating": "double"},
    {"branches": "global", "conv": 2, "position": {"kind": "none"}},
]


def build(*, causal: bool, **fields: object) -> torch.nn.Module:
    torch.manual_seed(0)
    chunk = 256 if fields.get("branches") == "global" else CHUNK
    given = {"hidden": 10, "key_dim": 6, "chunk": chunk, "conv": 5, **fields}
    layer = execute(MIXERS["gated_unit"].model_validate(given).plan(Place(WIDTH, 1, 0, causal)))
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer.double()


def convolved(x: Tensor, augment: torch.nn.Module, *, causal: bool) -> Tensor:
    """x [T, C] plus its convolution, one tap after another."""
    if not any(True for _ in augment.parameters()):
        return x
    (kernel,) = augment.parameters()  # [C, 1, width]
    width = kernel.shape[-1]
    behind = width - 1 if causal else (width - 1) // 2
    padded = F.pad(x, (0, 0, behind, width - 1 - behind))
    return x + sum(padded[i : i + len(x)] * kernel[:, 0, i] for i in range(width))


def dense(layer: torch.nn.Module, x: Tensor, fields: dict, *, causal: bool) -> Tensor:
    """One sequence [T, D]."""
    u, v, z = convolved(F.silu(x @ layer.project.weight.T), layer.conv_in, causal=causal).split(
        layer.widths, dim=-1
    )
    triple = fields.get("gating", "triple") == "triple"
    values = torch.cat((v, u), dim=-1) if triple else v
    time = torch.arange(len(x))
    same = time[:, None] // CHUNK == time // CHUNK
    past = time[:, None] >= time
    found = torch.zeros_like(values)
    kinds = {"both": ("local", "global")}.get(fields.get("branches", "both"))
    kinds = kinds or (fields["branches"],)
    for branch, kind in zip(layer.branches, kinds, strict=True):
        own = branch.query_and_key
        q, k = (
            own.position((z * own.scale[i] + own.offset[i])[None, None], 0)[0, 0] for i in (0, 1)
        )
        scores = q @ k.T
        if kind == "local":
            weights = (scores / CHUNK).clamp(min=0) ** 2 * same
            weights = weights * past if causal else weights
        elif not causal:
            weights = scores / len(x)
        elif len(kinds) == 2:
            earlier = past & ~same
            weights = scores * earlier / earlier.sum(-1, keepdim=True).clamp(min=1)
        else:
            weights = scores * past / past.sum(-1, keepdim=True)
        found = found + weights @ values
    if triple:
        found_v, found_u = found.chunk(2, dim=-1)
        h = (found_u * v) * torch.sigmoid(found_v * u)
    else:
        h = found * u
    return convolved(h @ layer.out.weight.T, layer.conv_out, causal=causal)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fields", CASES, ids=str)
@pytest.mark.parametrize("time", [1, 2, 7, 8, 33])
def test_equals_dense_weights(time: int, fields: dict, causal: bool) -> None:
    layer = build(causal=causal, **fields)
    x = torch.randn(1, time, WIDTH, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(time, WIDTH, dtype=torch.float64)
    wanted = [x, *layer.parameters()]
    fast, slow = layer(x)[0], dense(layer, x[0], fields, causal=causal)
    for a, b in zip(
        (fast, *torch.autograd.grad(fast, wanted, cotangent, materialize_grads=True)),
        (slow, *torch.autograd.grad(slow, wanted, cotangent, materialize_grads=True)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fields", CASES, ids=str)
@pytest.mark.parametrize(
    "pieces", [(1,) * 19, (5, 3, 1, 1, 9), (3, 20, 1, 8), (8, 8, 5), (11, 2, 2)]
)
def test_a_split_sequence_equals_the_whole(pieces: tuple[int, ...], fields: dict) -> None:
    layer = build(causal=True, **fields)
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


def test_gradients_pass_through_a_state() -> None:
    layer = build(causal=True)
    x = torch.randn(1, 21, WIDTH, dtype=torch.float64, requires_grad=True)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split((6, 1, 14), dim=1)]
    cotangent = torch.randn_like(x)
    (split,) = torch.autograd.grad(torch.cat(parts, dim=1), x, cotangent)
    (whole,) = torch.autograd.grad(layer(x), x, cotangent)
    torch.testing.assert_close(split, whole, rtol=1e-9, atol=1e-11)
