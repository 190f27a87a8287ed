"""Flow attention against the flows written out as matrices, and token after token."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS

WIDTH, KEY = 12, 4
CASES = [
    {"heads": 1},
    {"heads": 3, "value_factor": 2},
    {"heads": 3, "competition": False},
    {"heads": 1, "allocation": False, "position": {"kind": "none"}},
    {"heads": 2, "competition": False, "allocation": False},
]


def build(*, causal: bool, **fields: object) -> torch.nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["flow"].model_validate({"head_dim": KEY, **fields})
    return execute(spec.plan(Place(WIDTH, 1, 0, causal))).double()


def of_head(layer: torch.nn.Module, x: Tensor, h: int) -> tuple[Tensor, Tensor, Tensor]:
    """Capacities of queries and keys, and values, of one head: [T, K], [T, K], [T, V]"""
    rows = slice(h * KEY, (h + 1) * KEY)
    columns = slice(h * layer.value_dim, (h + 1) * layer.value_dim)
    q, k = (
        layer.position((x @ weight[rows].T)[None, None], 0)[0, 0].sigmoid()
        for weight in (layer.query.weight, layer.key.weight)
    )
    return q, k, x @ layer.value.weight[columns].T


def encoder_head(layer: torch.nn.Module, x: Tensor, h: int, fields: dict) -> Tensor:
    q, k, v = of_head(layer, x, h)
    flow = q @ k.T  # [sinks, sources]
    incoming = flow.sum(1) + 1e-6
    outgoing = flow.sum(0) + 1e-6
    let_in = (flow / outgoing).sum(1)
    let_out = (flow / incoming[:, None]).sum(0)
    if fields.get("competition", True):
        strength = let_out.clamp(-1, 1).exp()
        v = v * (strength / strength.sum() * len(x))[:, None]
    o = (flow / incoming[:, None]) @ v
    return o * torch.sigmoid(let_in)[:, None] if fields.get("allocation", True) else o


def causal_head(layer: torch.nn.Module, x: Tensor, h: int, fields: dict) -> Tensor:
    q, k, v = of_head(layer, x, h)
    incoming, outgoing, strengths, weighted, outputs = [], [], [], [], []
    for t in range(len(x)):
        n = t + 1
        incoming.append(sum(q[t] @ k[s] for s in range(n)) + 1e-6)
        outgoing.append(sum(k[t] @ q[s] for s in range(n)) + 1e-6)
        let_in = sum(q[t] @ k[s] * (s + 1) / outgoing[s] for s in range(n)) / n
        let_out = sum(k[t] @ q[s] * (s + 1) / incoming[s] for s in range(n)) / n
        strengths.append(let_out.clamp(-1, 1).exp())
        share = strengths[t] / sum(strengths) * n if fields.get("competition", True) else 1.0
        weighted.append(share * v[t])
        o = sum(q[t] @ k[s] / incoming[t] * weighted[s] for s in range(n))
        outputs.append(torch.sigmoid(let_in) * o if fields.get("allocation", True) else o)
    return torch.stack(outputs)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fields", CASES, ids=str)
def test_equals_the_flows_written_out(fields: dict, causal: bool) -> None:
    layer = build(causal=causal, **fields)
    for time in (1, 2, 7, 33) if fields == CASES[0] else (7,):
        x = torch.randn(1, time, WIDTH, dtype=torch.float64, requires_grad=True)
        one = causal_head if causal else encoder_head
        heads = [one(layer, x[0], h, fields) for h in range(fields["heads"])]
        slow = torch.cat(heads, dim=-1) @ layer.out.weight.T
        cotangent = torch.randn_like(slow)
        wanted = [x, *layer.parameters()]
        fast = layer(x)[0]
        for a, b in zip(
            (fast, *torch.autograd.grad(fast, wanted, cotangent, materialize_grads=True)),
            (slow, *torch.autograd.grad(slow, wanted, cotangent, materialize_grads=True)),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("pieces", [(1, 1, 30), (20, 1, 11), (5, 27)])
def test_a_split_sequence_equals_the_whole(pieces: tuple[int, ...]) -> None:
    layer = build(causal=True, heads=2)
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    state = layer.empty_state()
    parts = [layer(piece, state) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-12)


def test_tokens_compete() -> None:
    """What one token is given, the others lose; without competition each keeps its own."""
    layer = build(causal=False, heads=1)
    let_out = torch.tensor([[[0.1, 0.5, 0.3]]])
    torch.testing.assert_close(layer.competition(let_out).sum(-1), torch.full((1, 1), 3.0))
    alone = build(causal=False, heads=1, competition=False)
    assert torch.equal(alone.competition(let_out), torch.ones(1, 1, 3))
