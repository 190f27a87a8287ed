"""What holds for FFNs and norms, which see a token at a time, and for positions and embeddings."""

import pytest
import torch

from nas.search_spaces.ops import merge_costs
from tests.contracts.flops import counted_flops
from tests.contracts.instances import (
    CONTEXT,
    VOCAB,
    Instance,
    assert_close,
    build,
    example_input,
    instances,
    ops_of,
    run,
)


@pytest.mark.parametrize("instance", instances("ffns", "norms"), ids=repr)
def test_each_token_is_seen_alone(instance: Instance) -> None:
    module, x = build(instance), example_input(instance.slot)
    whole = module(x)
    for time in range(CONTEXT):
        assert_close(module(x[:, time : time + 1]), whole[:, time : time + 1])


@pytest.mark.parametrize("instance", instances("ffns"), ids=repr)
def test_an_ffn_computes_something(instance: Instance) -> None:
    module, x = build(instance), example_input(instance.slot)
    y = module(x)
    if type(instance.spec).absent:
        assert torch.equal(y, x)
        return
    assert (y.std(dim=(0, 1)) > 1e-6).all()  # differs from token to token, in every channel
    assert (module(2 * x) - 2 * y).abs().max() > 1e-6  # and is not linear


@pytest.mark.parametrize("instance", instances("ffns", "norms"), ids=repr)
def test_decode_flops_equal_what_torch_counts(instance: Instance) -> None:
    module = build(instance, torch.float32)
    x = example_input(instance.slot, torch.float32, time=1)
    for context in (1, 7, CONTEXT):
        _, _, _, decode_flops = merge_costs(ops_of(instance, context))
        assert counted_flops(lambda: module(x)) == len(x) * decode_flops


@pytest.mark.parametrize("instance", [i for i in instances("norms") if ops_of(i)], ids=repr)
def test_a_norm_bounds_its_output(instance: Instance) -> None:
    module, x = build(instance), example_input(instance.slot)
    for scale in (1.0, 1e3, 1e6):
        size = module(scale * x).square().mean(dim=-1).sqrt()
        assert ((size > 0.1) & (size < 10)).all()


@pytest.mark.parametrize("instance", instances("positions", "embeddings"), ids=repr)
@pytest.mark.parametrize("offset", [1, 5, CONTEXT - 1])
def test_an_offset_continues_the_sequence(instance: Instance, offset: int) -> None:
    module, x = build(instance), example_input(instance.slot)
    time = x.dim() - (2 if instance.slot == "positions" else 1)
    rest = x.narrow(time, offset, CONTEXT - offset)
    whole = run(instance.slot, module, x)
    time = whole.dim() - 2
    expected = whole.narrow(time, offset, CONTEXT - offset)
    assert_close(run(instance.slot, module, rest, offset), expected)


@pytest.mark.parametrize("instance", instances("embeddings"), ids=repr)
def test_an_embedding_tells_tokens_apart(instance: Instance) -> None:
    vectors = run("embeddings", build(instance), torch.arange(VOCAB)[:, None])[:, 0]
    distance = torch.cdist(vectors, vectors) + torch.eye(VOCAB)
    assert distance.min() > 1e-3
