"""How many linear layers for each layer of full attention, and where do the full ones stand?"""

from typing import Any


def hybrid_ratio() -> dict[str, Any]:
    """Ratios and linear mixers of "A Systematic Analysis of Hybrid Linear Attention"
    (arXiv 2507.06457)."""
    head = {"divide": "dim", "by": "heads"}
    attention = {
        "kind": "attention",
        "heads": {"choice": [2, 4, 8]},
        "groups": {"choice": [1, 2, 4]},
        "head_dim": head,
    }
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {
            "kind": "ratio",
            "background": {
                "choice": [
                    {"kind": "gated_delta", "heads": {"choice": [2, 4]}, "head_dim": head},
                    {"kind": "gated_linear", "heads": {"choice": [2, 4]}, "head_dim": head},
                    {"kind": "retention", "heads": {"choice": [2, 4]}, "head_dim": head},
                    {"kind": "identity"},
                ]
            },
            "placed": attention,
            "ratio": {"choice": ["0:1", "1:1", "3:1", "6:1", "12:1", "1:0"]},
            "placement": {"choice": ["interleaved", "bottom", "top", "both_ends", "middle"]},
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [1.5, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
