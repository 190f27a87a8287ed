"""Every part of the catalogue, in every slot, as questions made from the parts' own examples."""

from collections.abc import Mapping
from typing import Any

from nas.search_spaces.catalogue import (
    BLOCKS,
    EMBEDDINGS,
    FFNS,
    HEADS,
    MIXERS,
    NESTED_LISTS,
    NESTED_SLOTS,
    NORMS,
)

EXAMPLE_WIDTH = 64
"""The width that examples of parts are made for."""
KNOWN: dict[str, Any] = {
    "groups": {"choice": [1, 2, 4]},
    "head_dim": {"divide": "dim", "by": "heads"},  # all heads together are as wide as the model
    "heads": {"choice": [2, 4, 8]},
    "max_tokens": 512,
    "window": {"choice": [32, 128]},
}
"""Fields that mean the same in every part, at sizes that suit a proxy."""
KEPT = ("balance_weight", "base", "temperature")
"""Fields that tune a part and do not change its structure: they keep their defaults."""


def everything() -> dict[str, Any]:
    """All parts of language models. Their numbers take the values that the parts' examples and
    variants show; widths follow the model's width. Mixers also come in pairs, as in "A Systematic
    Analysis of Hybrid Linear Attention" (arXiv 2507.06457). A new part appears here by itself."""
    return whole_family("causal_lm")


def whole_family(family: str) -> dict[str, Any]:
    """All parts that a model family may use."""
    mixers = offer(MIXERS, family)
    return {
        "family": family,
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "embedding": offer(EMBEDDINGS, family),
        "block": offer(BLOCKS, family),
        "mixer": {
            "kind": "ratio",
            "background": mixers,
            "placed": mixers,
            "ratio": {"choice": ["0:1", "1:1", "3:1", "7:1", "1:0"]},
            "placement": {
                "choice": [
                    "interleaved",
                    "interleaved_first",
                    "bottom",
                    "top",
                    "both_ends",
                    "middle",
                ]
            },
        },
        "ffn": offer(FFNS, family),
        "norm": offer(NORMS, family),
        "tied": {"choice": [True, False]},
        "head": offer(HEADS, family),
    }


def offer(parts: Mapping[str, Any], family: str) -> dict[str, Any]:
    """A choice among the parts that a family may use, each with its own questions."""
    legal = [part for part in parts.values() if family in part.families]
    return {"choice": [questions(part, family) for part in legal]}


def questions(part: Any, family: str) -> dict[str, Any]:
    """A part as a question: each field that its example or variants set, over the values seen. A
    list of parts is that of the example."""
    seen = [{**_defaults(part), **given} for given in (part.example, *part.variants)]
    fields: dict[str, Any] = {"kind": part.example["kind"]}
    for name in part.model_fields:
        nested = NESTED_SLOTS.get((part.__name__, name))
        if (part.__name__, name) in NESTED_LISTS:
            fields[name] = part.example[name]
        elif nested is not None:
            fields[name] = offer(nested, part.family_inside or family)
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
