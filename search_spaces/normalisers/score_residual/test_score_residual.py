"""The score residual: whole models against scores added up layer by layer, in float64."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.export import Header
from nas.export.folder import export
from nas.plan import execute
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.mixers.mixture_of_heads.module import MixtureOfHeads
from nas.search_spaces.normalisers.score_residual.module import FirstScores

TIME, DIM, HEADS, WIDTH = 9, 16, 3, 4
LINEAR = {"kind": "linear", "heads": 2, "head_dim": 4}


def attention(heads: int = HEADS, trained: bool = False, **more: Any) -> dict[str, Any]:
    normaliser = {"kind": "score_residual", "trained": trained}
    shape = {"heads": heads, "groups": heads, "head_dim": WIDTH, "position": {"kind": "none"}}
    return {"kind": "attention", **shape, "normaliser": normaliser, **more}


def architecture(*mixers: dict[str, Any], family: str = "causal_lm") -> Architecture:
    layers = [
        {"mixer": mixer, "ffn": {"kind": "none"}, "block": {"kind": "sequential"}}
        for mixer in mixers
    ]
    made = {"vocab": 11, "dim": DIM, "layers": layers, "family": family}
    return Architecture.model_validate(made)


def built(found: Architecture) -> Any:
    torch.manual_seed(0)
    model = execute(found.plan()).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("share"):
                parameter.copy_(torch.linspace(-0.5, 1.5, HEADS).view_as(parameter))
    return model


def by_hand(model: Any, tokens: Tensor, causal: bool = True) -> Tensor:
    """Logits of a model of attention layers alone, one matrix of scores after another."""
    x, below = model.embedding(tokens, 0), None
    hidden = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
    for block in model.blocks:
        mixer, normed = block.inner, block.norm(x)
        q, k, v = (
            project(normed).view(2, TIME, HEADS, WIDTH).transpose(1, 2)
            for project in (mixer.query, mixer.key, mixer.value)
        )
        scores = q @ k.mT / math.sqrt(WIDTH)
        if below is not None:
            share = getattr(mixer.scope.normaliser, "share", torch.ones(()))
            scores = scores + share * below
        below = scores
        seen = scores.masked_fill(hidden, -torch.inf) if causal else scores
        heads = seen.softmax(-1) @ v
        x = x + mixer.out(heads.transpose(1, 2).flatten(2))
    return model.head(model.norm(x), model.embedding)


def tokens() -> Tensor:
    return torch.randint(11, (2, TIME), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["causal_lm", "encoder"])
@pytest.mark.parametrize("trained", [False, True])
def test_scores_add_up_from_layer_to_layer(trained: bool, family: str) -> None:
    found = architecture(*[attention(trained=trained)] * 3, family=family)
    model = built(found)
    assert sum(p.numel() for p in model.parameters()) == found.cost(TIME).params
    results = [model(tokens()), by_hand(model, tokens(), causal=family == "causal_lm")]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    parameters = list(model.parameters())
    mine, true = (torch.autograd.grad(logits.square().sum(), parameters) for logits in results)
    for gradient, exact in zip(mine, true, strict=True):
        torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-10)
        assert gradient.abs().max() > 0


def test_steps_are_the_whole() -> None:
    model = built(architecture(*[attention(trained=True)] * 3))
    whole, state = model(tokens()), model.empty_state()
    pieces = [model(tokens()[:, part], state) for part in (slice(0, 4), slice(4, 5), slice(5, 9))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-12)


def links(model: Any) -> list[tuple[int, int]]:
    """(lower, upper) layer of each pair."""
    layers = {
        module: index
        for index, block in enumerate(model.blocks)
        for module in block.modules()
        if isinstance(module, FirstScores)
    }
    return [(layers[one], layers[m]) for m in layers for one in getattr(m, "below", ())]


@pytest.mark.parametrize(
    ("mixers", "pairs"),
    [
        ([attention()] * 3, [(0, 1), (1, 2)]),
        ([attention(), LINEAR, attention()], [(0, 2)]),
        ([attention(), attention(2), attention(), attention(2)], [(0, 2), (1, 3)]),
        ([attention(), attention(normaliser={"kind": "softmax"}), attention()], [(0, 2)]),
        ([attention(), attention(scope={"kind": "window", "window": 4})], []),
        ([attention(), {"kind": "sum", "branches": [attention(), LINEAR]}, attention()], [(0, 2)]),
        ([attention()], []),
    ],
)
def test_who_hands_scores_to_whom(mixers: list[Any], pairs: list[tuple[int, int]]) -> None:
    model = built(architecture(*mixers))
    assert links(model) == pairs
    model(tokens())
    kept = [m.kept for m in model.modules() if isinstance(m, FirstScores)]
    assert all(scores is None for scores in kept)  # nothing outlives the pass


def test_mixtures_of_heads_hand_on_too() -> None:
    shape = {"heads": 4, "groups": 2, "head_dim": 4, "shared": 1, "active": 2}
    normaliser = {"kind": "score_residual", "trained": True}
    mixer = {"kind": "mixture_of_heads", **shape, "normaliser": normaliser}
    model = execute(architecture(mixer, mixer).plan())
    assert isinstance(model.blocks[1].inner, MixtureOfHeads)
    assert links(model) == [(0, 1)]
    model.loss(tokens(), tokens()).backward()
    assert model.blocks[1].inner.scope.normaliser.share.grad.abs().max() > 0


def test_a_copy_is_a_model_of_its_own() -> None:
    model = built(architecture(*[attention()] * 2))
    other = copy.deepcopy(model)
    below = other.blocks[1].inner.scope.normaliser.below[0]
    assert below is other.blocks[0].inner.scope.normaliser
    assert "blocks.1.inner.scope.normaliser.below" not in "".join(other.state_dict())


def test_the_exported_file_hands_scores_on(tmp_path: Path) -> None:
    found = architecture(*[attention(trained=True)] * 4)
    exported = export(found, tmp_path / "out", header=Header())
    text = exported.model.read_text()
    assert "hand_scores_on(" in text
    assert "pairs=((0, 1), (1, 2), (2, 3))" in text
