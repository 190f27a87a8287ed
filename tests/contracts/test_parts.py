"""What holds for every part of the catalogue, whatever its slot."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

import nas.search_spaces.catalogue as catalogue
from nas.plan import execute
from nas.search_spaces.axes import ReplayDraw
from nas.search_spaces.base import Part
from nas.search_spaces.catalogue import SLOTS, union
from nas.search_spaces.drawing import draw_part
from nas.search_spaces.ops import merge_costs
from nas.search_spaces.searchable import searchable
from tests.contracts.flops import counted_flops
from tests.contracts.instances import (
    CONTEXT,
    INSTANCES,
    PLACE,
    WIDTH,
    Instance,
    assert_close,
    balance_loss,
    build,
    example_input,
    ops_of,
    plan_of,
    run,
)

PARTS = [
    pytest.param(slot, kind, id=f"{slot}-{kind}") for slot, kinds in SLOTS.items() for kind in kinds
]
WITHOUT_TORCH = """
import sys
import nas.search_spaces.space
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import SLOTS

at = Place(64, 2, 0)
for slot in ("mixers", "ffns", "norms", "positions"):
    for part in SLOTS[slot].values():
        spec = part.model_validate(part.example)
        spec.cost(at, 64)
        spec.plan(at)
assert "torch" not in sys.modules, "a spec imports torch"
"""

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=repr)
every_part = pytest.mark.parametrize(("slot", "kind"), PARTS)


@every_instance
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_dtype_are_kept(instance: Instance, dtype: torch.dtype) -> None:
    x = example_input(instance.slot, dtype, time=5)
    y = run(instance.slot, build(instance, dtype), x)
    if instance.slot == "embeddings":
        assert y.shape == (*x.shape, WIDTH)
    elif instance.slot == "heads":
        assert y.shape == (len(x), *x.shape[1:-1][: y.ndim - 2], ops_of(instance)[-1].width)
    else:
        assert y.shape == x.shape
    assert y.dtype == dtype
    assert y.isfinite().all()


@every_instance
def test_mixed_precision_trains(instance: Instance) -> None:
    module, x = build(instance, torch.float32), example_input(instance.slot, torch.float32)
    module.train()
    with torch.autocast("cpu", torch.bfloat16):
        y = run(instance.slot, module, x)
        loss = y.float().square().mean() + balance_loss(module)
    if any(True for _ in module.parameters()):
        loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    assert y.isfinite().all()


@every_instance
def test_sequences_of_a_batch_do_not_see_each_other(instance: Instance) -> None:
    module, x = build(instance), example_input(instance.slot)
    together = run(instance.slot, module, x)
    for index in range(len(x)):
        alone = run(instance.slot, module, x[index : index + 1])
        assert_close(together[index : index + 1], alone)


@every_instance
def test_every_parameter_receives_a_gradient(instance: Instance) -> None:
    module, x = build(instance).train(), example_input(instance.slot)
    y = run(instance.slot, module, x)
    loss = (y * torch.randn(y.shape, dtype=y.dtype)).sum() + balance_loss(module)
    assert loss.requires_grad == any(True for _ in module.parameters())
    if loss.requires_grad:
        loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-12, name


@every_instance
def test_parameters_equal_the_closed_form(instance: Instance) -> None:
    built = sum(p.numel() for p in build(instance).parameters())
    params, active, _, _ = merge_costs(ops_of(instance))
    assert params == built
    assert 0 <= active <= params


@every_instance
def test_flops_equal_what_torch_counts(instance: Instance) -> None:
    module, x = build(instance, torch.float32), example_input(instance.slot, torch.float32)
    _, _, flops, _ = merge_costs(ops_of(instance))
    tokens = x.shape[0] * CONTEXT
    assert counted_flops(lambda: run(instance.slot, module, x)) == tokens * flops


@every_instance
def test_operators_read_what_was_written_before(instance: Instance) -> None:
    written: dict[str, Any] = {"x": (WIDTH,)}
    for op in ops_of(instance):
        expects = op.expects or (None,) * len(op.reads)
        for read, expected in zip(op.reads, expects, strict=True):
            assert read in written, f"{op.name} reads {read}, which is not written before it"
            if expected is not None:
                assert written[read] == expected, f"{op.name} reads {read}"
        assert op.name not in written
        written[op.name] = op.shape
    if instance.slot != "heads":
        assert list(written.values())[-1] == (WIDTH,)


@every_instance
def test_same_seed_gives_same_weights(instance: Instance) -> None:
    first, second = build(instance).state_dict(), build(instance).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@every_instance
def test_json_gives_the_same_part_and_plan(instance: Instance) -> None:
    text = instance.spec.model_dump_json()
    again = TypeAdapter(union(SLOTS[instance.slot])).validate_json(text)
    assert again == instance.spec
    assert plan_of(instance._replace(spec=again)) == plan_of(instance)


@every_part
def test_numbers_are_accepted_by_a_space(slot: str, kind: str) -> None:
    part = SLOTS[slot][kind]
    for numbers in (part.example, *part.variants):
        twin = searchable(part).model_validate(numbers)
        assert draw_part(twin, ReplayDraw({}), slot, PLACE) == part.model_validate(numbers)


@every_part
def test_an_unknown_field_is_refused(slot: str, kind: str) -> None:
    part = SLOTS[slot][kind]
    for model in (part, searchable(part)):
        with pytest.raises(ValueError, match="not_a_field"):
            model.model_validate({**part.example, "not_a_field": 1})


@every_part
def test_schemas_render(slot: str, kind: str) -> None:
    part = SLOTS[slot][kind]
    for model in (part, searchable(part)):
        schema = json.loads(json.dumps(model.model_json_schema()))
        assert set(schema["properties"]) == set(part.model_fields)
        assert schema["properties"]["kind"]["const"] == kind


@every_part
def test_examples_and_variants_use_every_option(slot: str, kind: str) -> None:
    part = SLOTS[slot][kind]
    specs = [part.model_validate(numbers) for numbers in (part.example, *part.variants)]
    for name, info in part.model_fields.items():
        if name != "kind" and not info.is_required():
            assert any(getattr(spec, name) != info.default for spec in specs), name


@every_part
def test_papers_are_linked_and_the_readme_names_one(slot: str, kind: str) -> None:
    part: type[Part] = SLOTS[slot][kind]
    assert part.papers
    assert all(re.match(r"https://\S+$", paper.link) and paper.title for paper in part.papers)
    readme = _folder(slot, kind) / "README.md"
    text = " ".join(readme.read_text(encoding="utf-8").split())
    named = [paper for paper in part.papers if paper.title in text or _number(paper.link) in text]
    assert named, f"{readme} names none of the papers of {kind}"


@every_part
def test_docstrings_describe_part_and_module(slot: str, kind: str) -> None:
    part = SLOTS[slot][kind]
    assert part.__doc__
    assert part.__doc__ != part.__base__.__doc__
    instance = next(i for i in INSTANCES if i.name.startswith(f"{slot}-{kind}-"))
    assert type(execute(plan_of(instance))).__doc__


def test_specs_need_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _folder(slot: str, kind: str) -> Path:
    return Path(catalogue.__file__).parent / slot / kind


def _number(link: str) -> str:
    return link.rsplit("/", 1)[-1]
