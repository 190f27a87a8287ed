"""Whole models that together hold every instance of the catalogue, at a width of 64."""

from collections.abc import Iterator
from typing import Any

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import FAMILIES, Part
from tests.contracts.instances import INSTANCES, VOCAB, WIDTH, Instance, stand_in

LAYER_FIELDS = {"mixers": "mixer", "ffns": "ffn", "blocks": "block"}


def architecture_with(instance: Instance) -> Architecture:
    """Two layers, the second of which holds the part; an embedding or norm stands outside them.
    A residual or position goes into the first part of the catalogue that has a field for it."""
    first = {field: stand_in_any(slot) for slot, field in LAYER_FIELDS.items()}
    second = dict(first)
    model: dict[str, Any] = {"vocab": VOCAB, "dim": WIDTH, "tied": instance.slot != "norms"}
    model["family"] = FAMILIES[0 if instance.causal else 1]
    if instance.slot in LAYER_FIELDS:
        second[LAYER_FIELDS[instance.slot]] = instance.spec
    elif instance.slot in ("embeddings", "norms", "heads"):
        model[instance.slot.removesuffix("s")] = instance.spec
    else:
        field, holder = next(_holders(instance))
        second[field] = holder
    return Architecture.model_validate({**model, "layers": (first, second)})


def stand_in_any(slot: str) -> Any:
    """The stand-in of a slot; blocks have no operators of their own, so it is the usual one."""
    if slot == "blocks":
        return {"kind": "sequential"}
    return stand_in(slot)


def _holders(instance: Instance) -> Iterator[tuple[str, Part]]:
    """(layer field, part) for each part of a layer that can hold the instance in a field."""
    for other in INSTANCES:
        if other.slot not in LAYER_FIELDS:
            continue
        for name in type(other.spec).model_fields:
            held = getattr(other.spec, name)
            if isinstance(held, Part) and type(held).__mro__[1] is type(instance.spec).__mro__[1]:
                numbers = {**other.spec.model_dump(), name: instance.spec}
                yield LAYER_FIELDS[other.slot], type(other.spec).model_validate(numbers)
