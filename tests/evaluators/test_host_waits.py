"""Which parts of the catalogue make the host wait for a GPU in every training step. Those are
trained operation by operation there; all others can be captured."""

from pathlib import Path

import pytest
import torch

from nas.plan import execute
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import CAUSAL, Instance
from tests.support.waits import find_wait

MIXERS = ("attention", "gated_delta", "mamba", "mamba2", "retention", "lstm")
WAITING = {
    "experts": "aten::bincount",
    "mixture_of_attention_heads": "aten::bincount",
    "legendre": "aten::_to_copy between host and device",
    "log_sparse": "torch.tensor on the device",
}
"""By kind, for what the host waits. The whole catalogue, each variant, was looked through once."""


def kind_of(instance: Instance) -> str:
    """Of the part itself, also where it is inside another."""
    return instance.name.split("-")[1]


EXAMPLES = [
    each
    for each in CAUSAL
    if each.name.partition("-in-")[0].endswith("-0")
    and (each.slot in ("ffns", "scopes") or kind_of(each) in (*MIXERS, *WAITING))
]
PAGE = Path(__file__).parents[2] / "docs/gpu.md"


@pytest.mark.parametrize("instance", EXAMPLES, ids=str)
def test_a_step_waits_for_the_device_where_the_page_says_so_only(instance: Instance) -> None:
    tokens = torch.zeros(2, 16, dtype=torch.int64)
    model = execute(architecture_with(instance).plan())
    assert find_wait(model, tokens, tokens) == WAITING.get(kind_of(instance))
    row = f"| `{kind_of(instance)}` |"
    assert (row in PAGE.read_text()) == (kind_of(instance) in WAITING)


def test_a_look_at_a_value_is_found() -> None:
    instance = next(each for each in EXAMPLES if kind_of(each) == "attention")
    model = execute(architecture_with(instance).plan())
    model.norm.register_forward_hook(lambda _, __, out: out * float(out.sum() > 0))
    tokens = torch.zeros(2, 16, dtype=torch.int64)
    assert "item()" in str(find_wait(model, tokens, tokens))
