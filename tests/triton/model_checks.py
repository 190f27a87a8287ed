"""Whole models with the Triton forms of their ops against the same models in plain torch.

Triton's interpreter has to be on before triton is imported, so ``test_models.py`` runs this file in
a process of its own. On a machine with a GPU it runs there.
"""

import sys
from typing import Any

import pytest
import torch

from nas.kernels.runtime.checking import DEVICE
from nas.kernels.runtime.impl import use_impl
from nas.plan import execute
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import MIXERS, VOCAB, Instance

TOKENS = 11
KERNELS = {
    "linear_attention",
    "gated_delta_rule",
    "channel_delta_rule",
    "selective_scan",
    "diagonal_scan",
    "short_conv",
}
"""Ops with a Triton form that mixers call."""


def ops_of(model: Any) -> set[str]:
    """Names of ops that the modules of a model import."""
    found = set()
    for module in model.modules():
        names = vars(sys.modules[type(module).__module__])
        found |= KERNELS & {n for n, v in names.items() if callable(v)}
    return found


def built(instance: Instance) -> Any:
    torch.manual_seed(0)
    return execute(architecture_with(instance).plan()).double().to(DEVICE)


EXAMPLES = [i for i in MIXERS if i.name.endswith("-0") and ops_of(built(i))]


def test_every_op_is_used_by_some_mixer() -> None:
    assert set().union(*(ops_of(built(instance)) for instance in EXAMPLES)) == KERNELS


@pytest.mark.parametrize("instance", EXAMPLES, ids=str)
def test_a_model_is_the_same_in_triton(instance: Instance) -> None:
    model = built(instance)
    tokens = torch.randint(VOCAB, (2, TOKENS), generator=torch.Generator().manual_seed(1)).to(
        DEVICE
    )
    results = []
    for impl in ("triton", "chunked"):
        with use_impl(impl):
            loss = model.loss(tokens, tokens)
            grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        results.append([loss.detach(), *(g for g in grads if g is not None)])
    for mine, theirs in zip(*results, strict=True):
        assert (mine - theirs).abs().max() <= 1e-9 * max(float(theirs.abs().max()), 1e-6)


def test_decoding_is_the_forward_pass() -> None:
    instance = next(i for i in EXAMPLES if i.kind == "gated_delta")
    model = built(instance)
    tokens = torch.randint(VOCAB, (1, TOKENS), generator=torch.Generator().manual_seed(1)).to(
        DEVICE
    )
    with use_impl("triton"), torch.no_grad():
        whole, state = model(tokens), model.empty_state()
        parts = [model(part, state) for part in tokens.split([5, 1, 1, 4], dim=1)]
    assert (torch.cat(parts, dim=1) - whole).abs().max() <= 1e-9 * whole.abs().max()
