"""Packed documents give what each of them gives alone, whatever mixes their tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.evaluators.packing import Packing, packed
from nas.plan import execute
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import CAUSAL, VOCAB, Instance

LENGTHS = ((5, 1, 13), (19,), (2, 8, 9))
WITHOUT_MEMORY = ("identity", "none")


def tokens_of(rows: int, length: int) -> Tensor:
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(3))


def one_by_one(model: Any, tokens: Tensor) -> Tensor:
    """Logits of each document alone, laid end to end as in `LENGTHS`."""
    rows = [
        torch.cat([model(document.unsqueeze(0)) for document in row.split(list(lengths))], dim=1)
        for row, lengths in zip(tokens, LENGTHS, strict=True)
    ]
    return torch.cat(rows)


@pytest.mark.parametrize("instance", [i for i in CAUSAL if i.slot != "heads"], ids=str)
def test_documents_are_kept_apart(instance: Instance) -> None:
    torch.manual_seed(0)
    model = (
        execute(architecture_with(instance).plan()).double().eval()
    )  # some scopes sample in training
    tokens = tokens_of(3, 19)
    alone = one_by_one(model, tokens)
    with packed(model, LENGTHS):
        together = model(tokens)
    scale = alone.abs().max()
    assert (together - alone).abs().max() <= 1e-9 * scale
    assert torch.equal(model(tokens), model(tokens))
    if instance.kind not in WITHOUT_MEMORY:
        assert (model(tokens) - alone).abs().max() > 1e-6 * scale  # and without it they are not


def test_gradients_are_those_of_the_documents() -> None:
    instance = next(i for i in CAUSAL if i.name == "mixers-gated_delta-0")
    torch.manual_seed(0)
    model = execute(architecture_with(instance).plan()).double()
    tokens, weights = tokens_of(3, 19), list(model.parameters())
    with packed(model, LENGTHS):
        mine = torch.autograd.grad(model(tokens).square().sum(), weights)
    true = torch.autograd.grad(one_by_one(model, tokens).square().sum(), weights)
    for gradient, exact in zip(mine, true, strict=True):
        assert (gradient - exact).abs().max() <= 1e-9 * exact.abs().max()


def test_there_and_back_again() -> None:
    packing = Packing(LENGTHS)
    x = torch.randn(3, 19, 2)
    laid_out = packing.apart(x)
    assert laid_out.shape == (7, 19, 2)
    assert torch.equal(laid_out[0, :5], x[0, :5])
    assert torch.equal(laid_out[6, :9], x[2, 10:])
    assert torch.equal(packing.together(laid_out), x)
    assert packing.padded_share == pytest.approx(1 - 57 / (7 * 19))


@pytest.mark.parametrize("lengths", [((3, 2), (4,)), ((3, 0), (3,))])
def test_rows_that_are_not_filled_are_refused(lengths: Any) -> None:
    with pytest.raises(ValueError, match="documents must fill rows of one length"):
        Packing(lengths)


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = execute(architecture_with(CAUSAL[0]).plan())
    with pytest.raises(RuntimeError), packed(model, LENGTHS):
        raise RuntimeError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
