"""How many layers must see everything, when the others see a window?"""

from typing import Any


def local_global() -> dict[str, Any]:
    """A few layers of full attention among layers of local attention: placements of "Efficient
    Long-Range Transformers: You Need to Attend More, but Not Necessarily at Every Layer"
    (arXiv 2310.12442), the streaming layers of "LightTransfer" (arXiv 2410.13846), and blocks below
    as in "The Devil in Linear Transformer" (arXiv 2210.10340)."""
    attention = {
        "kind": "attention",
        "heads": {"choice": [2, 4, 8]},
        "groups": {"choice": [1, 2, 4]},
        "head_dim": {"divide": "dim", "by": "heads"},
    }
    local = {
        "choice": [
            {"kind": "window", "window": {"choice": [16, 32, 64]}},
            {"kind": "streaming", "sinks": {"choice": [1, 4]}, "window": {"choice": [16, 32, 64]}},
            {"kind": "blocks", "block": {"choice": [16, 32, 64]}},
        ]
    }
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {
            "kind": "count",
            "background": {**attention, "scope": local},
            "placed": attention,
            "count": {"choice": [0, 1, 2, 3, 4]},
            "placement": {"choice": ["bottom", "middle", "top", "interleaved", "both_ends"]},
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [1.5, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
