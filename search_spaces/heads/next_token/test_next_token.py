"""The loss of a large vocabulary: that of all logits at once, in values and gradients."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nas.export import Header
from nas.export.folder import export
from nas.plan import execute
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.heads.next_token.spec import LARGE_VOCAB
from nas.search_spaces.model import LanguageModel, LargeVocabularyModel


def architecture(vocab: int, *, tied: bool = True) -> Architecture:
    mixer = {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 8}
    layer = {
        "mixer": mixer,
        "ffn": {"kind": "swiglu", "hidden": 24},
        "block": {"kind": "sequential"},
    }
    made = {"vocab": vocab, "dim": 16, "layers": [layer], "tied": tied}
    return Architecture.model_validate(made)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_loss_is_that_of_all_logits(tied: bool, rows: int) -> None:
    torch.manual_seed(0)
    model = execute(architecture(LARGE_VOCAB, tied=tied).plan()).double()
    tokens, targets = torch.randint(LARGE_VOCAB, (2, rows, 17))
    targets[:, ::4] = -100
    mine = model.loss(tokens, targets)
    true = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(mine, true, rtol=1e-12, atol=0)
    parameters = list(model.parameters())
    pairs = zip(
        torch.autograd.grad(mine, parameters), torch.autograd.grad(true, parameters), strict=True
    )
    for gradient, exact in pairs:
        torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-14)


def test_the_vocabulary_decides() -> None:
    small, large = (execute(architecture(v).plan()) for v in (LARGE_VOCAB - 1, LARGE_VOCAB))
    assert type(small) is LanguageModel
    assert type(large) is LargeVocabularyModel
    assert architecture(LARGE_VOCAB).cost(8).params == sum(p.numel() for p in large.parameters())


def test_the_exported_file_trains_the_same_way(tmp_path: Path) -> None:
    for tied in (True, False):
        exported = export(
            architecture(LARGE_VOCAB, tied=tied), tmp_path / str(tied), header=Header()
        )
        assert "linear_cross_entropy(" in exported.model.read_text()
