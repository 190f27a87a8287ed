"""One training run, several sizes: what does it cost that every prefix has to work?"""

from typing import Any


def nested_ffn() -> dict[str, Any]:
    """FFNs whose first hidden units also work alone, as in "MatFormer: Nested Transformer for
    Elastic Inference" (arXiv 2310.07707), against plain ones."""
    hidden = {"times": {"choice": [2, 8 / 3, 4]}, "of": "dim", "round_to": 16}
    dense = {
        "choice": [
            {"kind": "swiglu", "hidden": hidden},
            {"kind": "gelu", "hidden": hidden},
            {"kind": "relu_squared", "hidden": hidden},
        ]
    }
    return {
        "dim": {"choice": [64, 96, 128, 192]},
        "depth": {"range": [2, 8]},
        "mixer": {
            "kind": "attention",
            "heads": {"choice": [2, 4]},
            "groups": {"choice": [1, 2, 4]},
            "head_dim": {"divide": "dim", "by": "heads"},
        },
        "ffn": {
            "choice": [
                {
                    "kind": "nested",
                    "ffn": dense,
                    "prefixes": {"choice": [[0.5, 1.0], [0.25, 0.5, 1.0], [0.125, 0.25, 0.5, 1.0]]},
                },
                *dense["choice"],
            ]
        },
    }
