"""How many layers need to attend at all, and where should they stand?"""

from typing import Any


def attention_ratio() -> dict[str, Any]:
    """The share of layers that attend; the others mix nothing. After "What Matters in Transformers?
    Not All Attention is Needed" (arXiv 2406.15786), which removes attention from trained models.

    ``ratio`` is identity:attention, from every layer attending (0:1) to none (1:0).
    """
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {
            "kind": "ratio",
            "background": {"kind": "identity"},
            "placed": {
                "kind": "attention",
                "heads": {"choice": [2, 4, 8]},
                "groups": {"choice": [1, 2, 4]},
                "head_dim": {"divide": "dim", "by": "heads"},
            },
            "ratio": {"choice": ["0:1", "1:3", "1:1", "3:1", "7:1", "1:0"]},
            "placement": {"choice": ["interleaved", "bottom", "top", "both_ends", "middle"]},
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
