"""The estimated mask, query by query, from the equations of its README."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.pieces.attend.module import repeat_heads
from tests.support.attention import Inputs, assert_same, build, cases


def one_query(
    layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, own: Tensor, width: int, top: int
) -> tuple[Tensor, Tensor]:
    """q [K], k [n, K], v [n, V], own [V] -> the output [V] and the divergence."""
    count = len(k)
    column = torch.tensor([s * width // count for s in range(count)])
    held = [c for c in range(width) if c in column]

    def of_columns(weights: Tensor) -> Tensor:
        return torch.stack([weights[column == c].sum() for c in range(width)])

    rough = ((F.elu(q) + 1) * (F.elu(k) + 1)).sum(-1)
    rough = rough / rough.sum()
    mixed = (rough[:, None] * v).sum(0)
    hidden = F.gelu(layer.hidden(torch.cat((mixed, of_columns(rough), own))))
    estimate = layer.map(hidden)[held].softmax(-1)
    true = (k @ q / len(q) ** 0.5).softmax(-1)
    target = of_columns(true).detach()[held]
    divergence = (target * (target / estimate).log()).sum()

    ranked = sorted(range(len(held)), key=lambda index: estimate[index].item(), reverse=True)
    best = [held[index] for index in ranked[:top]]
    chosen = [s for s in range(count) if column[s].item() in best]
    exact = ((k[chosen] @ q / len(q) ** 0.5).softmax(-1)[:, None] * v[chosen]).sum(0)
    trust, mix = layer.scale(hidden).sigmoid()
    return trust * exact + (1 - mix) * v.mean(0), divergence


def reference(
    layer: nn.Module, inputs: Inputs, width: int, top: int, causal: bool
) -> tuple[Tensor, Tensor]:
    """The output [B, H, T, V] and the mean divergence."""
    q, k, v = inputs
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    outputs, divergences = torch.zeros(*q.shape[:3], v.shape[-1], dtype=q.dtype), []
    for b, h, t in torch.cartesian_prod(*map(torch.arange, q.shape[:3])).view(-1, 3).tolist():
        seen = slice(t + 1) if causal else slice(None)
        y, divergence = one_query(
            layer, q[b, h, t], k[b, h, seen], v[b, h, seen], v[b, h, t], width, top
        )
        outputs[b, h, t] = y
        divergences.append(divergence)
    return outputs, torch.stack(divergences).mean()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("width", "top"), [(1, 1), (4, 2), (12, 3)])
def test_equals_the_equations(width: int, top: int, causal: bool) -> None:
    spec = SCOPES["estimated"](columns=width, top=top, hidden=5, distil=0.5)
    for shape, inputs in cases((1, 2, 7, 19)):
        layer = build(spec, shape, causal)
        actual = layer(*inputs)
        expected, divergence = reference(layer, inputs, width, top, causal)
        wanted = (*inputs, *layer.parameters())
        assert_same(actual, expected, wanted)
        assert_same(layer.balance_loss, 0.5 * divergence, wanted)


def test_following_the_loss_finds_where_the_attention_is() -> None:
    torch.manual_seed(0)
    shape = next(cases())[0]
    layer = build(SCOPES["estimated"](columns=8, top=1, hidden=16, distil=1.0), shape, False)
    q, k = torch.ones(8, 1, 32, 6), torch.zeros(8, 1, 32, 6)
    for spot in range(8):  # of each sequence one column stands out
        k[spot, 0, 4 * spot : 4 * spot + 4, 0] = 12.0
    inputs = [x.double() for x in (q, k, torch.randn(8, 1, 32, 4))]
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        layer(*inputs)
        losses.append(layer.balance_loss.item())
        optimiser.zero_grad()
        layer.balance_loss.backward()
        optimiser.step()
    assert losses[-1] < 0.3 * losses[0]
