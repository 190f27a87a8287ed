"""Which mixer does each layer want?"""

from typing import Any


def per_layer_mixers() -> dict[str, Any]:
    """Softmax or linear attention, heads and FFN width chosen for each layer, as in "Neural
    Architecture Search on Efficient Transformers and Beyond" (arXiv 2207.13955)."""
    head = {"divide": "dim", "by": "heads"}
    heads = {"choice": [2, 4, 8]}
    softmax = {"kind": "attention", "heads": heads, "groups": heads, "head_dim": head}
    cosine = {"kind": "cosine", "max_tokens": 4096}
    position = {"kind": "none"}
    linear = {
        "kind": "linear",
        "heads": heads,
        "head_dim": head,
        "feature_map": cosine,
        "position": position,
    }
    hidden = {"times": {"choice": [1, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16}
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {"kind": "each", "part": {"choice": [softmax, linear]}},
        "ffn": {"kind": "each", "part": {"kind": "swiglu", "hidden": hidden}},
    }
