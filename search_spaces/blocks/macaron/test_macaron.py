"""The block against its README."""

import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import BLOCKS, FFNS, MIXERS

AT = Place(16, 1, 0)
MIXER = {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 8}


def test_half_an_ffn_on_each_side_of_the_mixer_and_a_norm_at_the_end() -> None:
    torch.manual_seed(0)
    block = BLOCKS["macaron"].model_validate({"kind": "macaron"})
    mixer = MIXERS["attention"].model_validate(MIXER).plan(AT)
    ffn = FFNS["gelu"].model_validate({"kind": "gelu", "hidden": 24}).plan(AT)
    module = execute(block.join_plan(AT, mixer, ffn)).double()
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    first, middle, last = module.sublayers
    assert not torch.equal(first.inner.up.weight, last.inner.up.weight)
    h = x + first.inner(first.norm(x)) / 2
    h = h + middle.inner(middle.norm(h))
    h = h + last.inner(last.norm(h)) / 2
    torch.testing.assert_close(module(x), module.norm(h))


def test_a_missing_mixer_or_ffn_is_left_out() -> None:
    block = BLOCKS["macaron"].model_validate({"kind": "macaron"})
    ffn = FFNS["gelu"].model_validate({"kind": "gelu", "hidden": 24}).plan(AT)
    mixer = MIXERS["attention"].model_validate(MIXER).plan(AT)
    assert len(execute(block.join_plan(AT, None, ffn)).sublayers) == 2
    assert len(execute(block.join_plan(AT, mixer, None)).sublayers) == 1
