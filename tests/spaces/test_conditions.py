"""Fields that say something only beside some values of another: values, spaces and questions."""

from typing import Any

import pytest
from pydantic import ValidationError

from nas.search_spaces.listing import entry
from nas.search_spaces.mixers.gated_linear.spec import GatedLinear
from nas.search_spaces.space import SearchSpace

HEADS = {"kind": "gated_linear", "heads": 2, "head_dim": 8}
ELSEWHERE = "gate_rank is for gate per_channel; elsewhere leave it out or at 16"


def space_with(**numbers: Any) -> SearchSpace:
    return SearchSpace.model_validate(
        {"dim": 64, "depth": 2, "mixer": {**HEADS, **numbers}, "ffn": {"kind": "none"}}
    )


def test_a_value_that_says_nothing_is_refused() -> None:
    assert GatedLinear.model_validate({**HEADS, "gate_rank": 4}).gate_rank == 4
    assert GatedLinear.model_validate({**HEADS, "gate": "none", "gate_rank": 16}).gate_rank == 16
    with pytest.raises(ValidationError, match=rf"{ELSEWHERE} \(gate_rank=4, gate=scalar\)"):
        GatedLinear.model_validate({**HEADS, "gate": "scalar", "gate_rank": 4})


def test_a_space_asks_only_where_the_answer_counts() -> None:
    space = space_with(
        gate={"choice": ["none", "per_channel"]}, gate_rank={"choice": [4, 8]}, temperature=8.0
    )
    found = {(m.gate, m.gate_rank, m.temperature) for m in _mixers(space)}
    assert found == {("none", 16, 16.0), ("per_channel", 4, 8.0), ("per_channel", 8, 8.0)}


def _mixers(space: SearchSpace) -> list[Any]:
    return [space.example(seed).layers[0].mixer for seed in range(40)]


@pytest.mark.parametrize("gate", ["scalar", {"choice": ["scalar", "none"]}])
def test_a_space_that_asks_where_no_answer_counts_is_refused(gate: Any) -> None:
    with pytest.raises(ValidationError, match=ELSEWHERE):
        space_with(gate=gate, gate_rank={"choice": [4, 8]})


def test_the_catalogue_says_so() -> None:
    assert "gate_rank is for gate per_channel" in entry("mixers", GatedLinear).rules
