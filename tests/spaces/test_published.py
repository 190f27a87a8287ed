"""Published models, written in the space's own JSON, have the published number of parameters."""

import copy
from typing import Any

import pytest

from nas.errors import NotFound
from nas.plan import execute
from nas.search_spaces.published import published, published_names
from nas.search_spaces.space import SearchSpace

# The counts again, so that a file and its test cannot drift together.
PARAMS = {
    "bert-base": 109_514_298,
    "deepseek-moe-16b": 16_375_728_128,
    "deepseek-v2-lite": 15_706_484_224,
    "deltanet-1.3b": 1_365_677_056,
    "deltanet-340m": 374_362_112,
    "falcon-7b": 6_921_720_704,
    "gated-deltanet-1.3b": 1_387_348_732,
    "gemma-2-2b": 2_614_341_888,
    "gla-340m": 374_475_776,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-small": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "kda-1.3b": 1_390_941_568,
    "llama-2-7b": 6_738_415_616,
    "llama-3.2-1b": 1_235_814_400,
    "mamba-130m": 129_135_360,
    "mamba2-130m": 128_989_632,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "olmo-2-1b": 1_484_916_736,
    "olmo-2-7b": 7_298_617_344,
    "qwen2.5-0.5b": 494_032_768,
    "retnet-1.3b": 1_351_727_104,
    "tinyllama-1.1b": 1_100_048_384,
}
ACTIVE_BILLIONS = {"mixtral-8x7b": 12.9, "deepseek-moe-16b": 2.8}


def test_all_of_them_are_held_to_a_count() -> None:
    assert published_names() == sorted(PARAMS)


@pytest.mark.parametrize("name", PARAMS)
def test_exact_parameters(name: str) -> None:
    model = published(name)
    made = model.search_space()
    assert made.axes == {}
    assert model.params == PARAMS[name]
    assert made.example().cost(1).params == PARAMS[name]


@pytest.mark.parametrize("name", ACTIVE_BILLIONS)
def test_active_parameters_of_sparse_models(name: str) -> None:
    active = published(name).search_space().example().cost(1).active_params
    assert round(active / 1e9, 1) == ACTIVE_BILLIONS[name]


@pytest.mark.parametrize("name", PARAMS)
def test_a_small_copy_is_built_with_as_many_parameters_as_it_costs(name: str) -> None:
    small = shrunk(published(name).space)
    drawn = SearchSpace.model_validate(small).example()
    model = execute(drawn.plan())
    assert sum(weight.numel() for weight in model.parameters()) == drawn.cost(1).params


def shrunk(space: dict[str, Any]) -> dict[str, Any]:
    """The same structure, narrow and shallow."""
    small = copy.deepcopy(space) | {"dim": 32, "depth": 2, "vocab": 97}
    for part in parts(small):
        part |= {name: size for name, size in (("hidden", 24), ("head_dim", 4)) if name in part}
        part |= {"experts": 8} if "experts" in part else {}
    return small


def parts(data: Any) -> list[dict[str, Any]]:
    """Every object in some data."""
    if isinstance(data, dict):
        return [data, *(part for value in data.values() for part in parts(value))]
    return [part for item in data for part in parts(item)] if isinstance(data, list) else []


def test_an_unknown_model_names_the_others() -> None:
    with pytest.raises(NotFound, match=r"did you mean 'llama-2-7b'\? there are: bert-base"):
        published("llama2-7b")
