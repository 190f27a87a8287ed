"""Which sublayers are needed at all?"""

from typing import Any


def layer_masks() -> dict[str, Any]:
    """Attention and FFN on or off in each layer on its own. After "What Matters in Transformers?
    Not All Attention is Needed" (arXiv 2406.15786), which drops sublayers of trained models."""
    attention = {
        "kind": "attention",
        "heads": 4,
        "groups": {"choice": [1, 2, 4]},
        "head_dim": {"divide": "dim", "by": "heads"},
    }
    ffn = {"kind": "swiglu", "hidden": {"times": 8 / 3, "of": "dim", "round_to": 16}}
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [4, 12]},
        "mixer": {"kind": "each", "part": {"choice": [attention, {"kind": "none"}]}},
        "ffn": {"kind": "each", "part": {"choice": [ffn, {"kind": "none"}]}},
    }
