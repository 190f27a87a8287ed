"""Parts of a given architecture kept in a space: "keep my tokenizer, width and norms".

    {"preset": "hybrid_ratio", "keep": {"from": {...architecture...}, "slots": ["vocab", "dim"]}}

expands into a plain space in which the named slots hold what the architecture has. Nothing of
``keep`` itself is left in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.errors import BadInput
from nas.search_spaces.architecture import Architecture, canonical
from nas.validation import parse

LAYER_SLOTS = ("block", "mixer", "ffn")
"""Slots of which each layer has its own part."""
SLOTS = ("vocab", "dim", "depth", "embedding", *LAYER_SLOTS, "norm", "tied", "head")
"""All that can be kept."""


def expand_keep(space: Any, given: Mapping[str, Any]) -> Any:
    """A space as data with its ``keep`` filled in; anything else as it is.

    `given` is what the user wrote, before a preset was filled in: a field that is written there and
    kept as well is a contradiction. Raises ValueError that starts with the path of what is wrong.
    """
    if not isinstance(space, Mapping) or "keep" not in space:
        return space
    keep = space["keep"]
    rest = {name: value for name, value in space.items() if name != "keep"}
    slots, architecture = _slots(keep), _architecture(keep)
    for slot in slots:
        if slot in given:
            raise ValueError(
                f"keep.slots: {slot} is kept and also given in the space; leave one of them out"
            )
    family = rest.get("family", "causal_lm")
    if architecture.family != family:
        raise ValueError(
            f"keep.from: the architecture's family is {architecture.family} and that of the space "
            f"{family}; accepted: an architecture of the same family"
        )
    depth = architecture.depth if "depth" in slots else rest.get("depth")
    return {**rest, **{slot: _kept(slot, architecture, depth) for slot in slots}}


def _slots(keep: Any) -> tuple[str, ...]:
    if not isinstance(keep, Mapping) or set(keep) != {"from", "slots"}:
        raise ValueError(
            'keep: expected an object with "from", an architecture, and "slots", a list of '
            f"what to keep of it; accepted in slots: {', '.join(SLOTS)}"
        )
    slots = keep["slots"]
    if isinstance(slots, str) or not isinstance(slots, Sequence) or not slots:
        raise ValueError(
            f"keep.slots: expected a list with at least one slot; accepted: {', '.join(SLOTS)}"
        )
    for index, slot in enumerate(slots):
        if slot not in SLOTS:
            raise ValueError(
                f"keep.slots.{index}: {slot!r} is no slot that can be kept; "
                f"accepted: {', '.join(SLOTS)}"
            )
    return tuple(dict.fromkeys(slots))


def _architecture(keep: Mapping[str, Any]) -> Architecture:
    given = keep["from"]
    if isinstance(given, str):
        raise ValueError(
            "keep.from: is text; a path is read by the command line alone, elsewhere the "
            "architecture itself is needed; accepted: the content of the file architecture.json "
            "of an export"
        )
    try:
        return parse(Architecture, given)
    except BadInput as error:
        first = error.problems[0]
        path = f"keep.from.{first.path}" if first.path else "keep.from"
        accepted = f"; accepted: {first.accepted}" if first.accepted else ""
        raise ValueError(f"{path}: {first.message}{accepted}") from None


def _kept(slot: str, architecture: Architecture, depth: Any) -> Any:
    """What a slot of the space holds, as data."""
    if slot == "depth":
        return architecture.depth
    if slot not in LAYER_SLOTS:
        return canonical(getattr(architecture, slot))
    parts = [canonical(getattr(layer, slot)) for layer in architecture.layers]
    if all(part == parts[0] for part in parts):
        return parts[0]
    if depth != architecture.depth:
        raise ValueError(
            f"keep.slots: {slot} differs from layer to layer, so it cannot be kept at another "
            f"depth; accepted: keep depth too, or set depth to {architecture.depth}"
        )
    return {"kind": "explicit", "parts": parts}
