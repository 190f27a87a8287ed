"""Every part of the catalogue, in every slot, as questions made from the parts' own examples."""

from collections.abc import Mapping
from typing import Any

from nas.search_spaces.catalogue import BLOCKS, EMBEDDINGS, FFNS, MIXERS, NESTED_SLOTS, NORMS

EXAMPLE_WIDTH = 64
"""The width that examples of parts are made for."""
KNOWN: dict[str, Any] = {
    "groups": {"choice": [1, 2, 4]},
    "head_dim": {"divide": "dim", "by": "heads"},  # all heads together are as wide as the model
    "heads": {"choice": [2, 4, 8]},
    "max_tokens": 4096,
    "window": {"choice": [None, 32, 128]},
}
"""Fields that mean the same in every part, at sizes that suit a proxy."""
KEPT = ("balance_weight", "base", "temperature")
"""Fields that tune a part and do not change its structure: they keep their defaults."""


def everything() -> dict[str, Any]:
    """All parts. Their numbers take the values that the parts' examples and variants show; widths
    follow the model's width. Mixers also come in pairs, as in "A Systematic Analysis of Hybrid
    Linear Attention" (arXiv 2507.06457). A new part appears here by itself."""
    mixers = offer(MIXERS)
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "embedding": offer(EMBEDDINGS),
        "block": offer(BLOCKS),
        "mixer": {
            "kind": "ratio",
            "background": mixers,
            "placed": mixers,
            "ratio": {"choice": ["0:1", "1:1", "3:1", "7:1", "1:0"]},
            "placement": {"choice": ["interleaved", "bottom", "top", "both_ends", "middle"]},
        },
        "ffn": offer(FFNS),
        "norm": offer(NORMS),
        "tied": {"choice": [True, False]},
    }


def offer(parts: Mapping[str, Any]) -> dict[str, Any]:
    """A choice among parts, each with its own questions."""
    return {"choice": [questions(part) for part in parts.values()]}


def questions(part: Any) -> dict[str, Any]:
    """A part as a question: each field that its example or variants set, over the values seen."""
    seen = [{**_defaults(part), **given} for given in (part.example, *part.variants)]
    fields: dict[str, Any] = {"kind": part.example["kind"]}
    for name in part.model_fields:
        nested = NESTED_SLOTS.get((part.__name__, name))
        if nested is not None:
            fields[name] = offer(nested)
        elif name not in ("kind", *KEPT) and name in seen[0]:
            fields[name] = _question(name, [given[name] for given in seen])
    return fields


def _question(name: str, seen: list[Any]) -> Any:
    if name in KNOWN:
        return KNOWN[name]
    if name == "hidden":
        shares = sorted({value / EXAMPLE_WIDTH for value in seen})
        return {"times": {"choice": shares}, "of": "dim", "round_to": 8}
    distinct = [value for index, value in enumerate(seen) if value not in seen[:index]]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct):
        distinct.sort()
    return {"choice": distinct} if len(distinct) > 1 else distinct[0]


def _defaults(part: Any) -> dict[str, Any]:
    """Fields that need not be set, as plain data."""
    return {
        name: list(info.default) if isinstance(info.default, tuple) else info.default
        for name, info in part.model_fields.items()
        if not info.is_required()
    }
