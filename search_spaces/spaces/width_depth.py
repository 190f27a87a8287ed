"""Wide and shallow, or narrow and deep?"""

from typing import Any


def width_depth() -> dict[str, Any]:
    """Width against depth with the same number of heads in every layer and at every width. After
    "Limits to Depth Efficiencies of Self-Attention" (arXiv 2006.12467) and "MobileLLM" (arXiv
    2402.14905).

    Variants are one field away: ``"dim": {"match_params": 1000000, "step": 16}`` takes for each
    depth the width that comes nearest to that many parameters, so that only the shape differs.
    """
    return {
        "dim": {"range": [64, 256], "step": 16},
        "depth": {"range": [2, 12]},
        "mixer": {
            "kind": "attention",
            "heads": 4,
            "groups": 4,
            "head_dim": {"divide": "dim", "by": "heads"},
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
