"""What should stand side by side, or in a row, in one layer?"""

from typing import Any


def inside_a_layer() -> dict[str, Any]:
    """Hybrids in a layer: a window beside a recurrence ("Liger", arXiv 2503.01496), attention and
    convolution in series or side by side ("Conformer", arXiv 2005.08100), chunks and a global
    linear part in one gated head ("MossFormer", arXiv 2302.11824), and sums of different mixers
    ("Heterogeneous Encoders Scaling", arXiv 2312.15872)."""
    head = {"divide": "dim", "by": "heads"}
    window = {"kind": "window", "window": {"choice": [16, 32, 64]}}
    attention = {"kind": "attention", "heads": 4, "groups": {"choice": [1, 2, 4]}, "head_dim": head}
    near = {**attention, "scope": window}
    recurrence = {"kind": "gated_linear", "heads": {"choice": [2, 4]}, "head_dim": head}
    convolution = {"kind": "conformer_conv", "width": {"choice": [7, 15, 31]}}
    short = {"kind": "gated_short_conv"}
    mixture = {"choice": ["sum", "mean", "learned"]}
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "block": {"choice": [{"kind": "sequential"}, {"kind": "macaron"}]},
        "mixer": {
            "choice": [
                attention,
                {
                    "kind": "liger",
                    "heads": 4,
                    "groups": {"choice": [1, 2, 4]},
                    "head_dim": head,
                    "window": {"choice": [16, 32, 64]},
                    "mixture": {"choice": ["mean", "learned"]},
                },
                {"kind": "sum", "branches": [near, recurrence], "mixture": mixture},
                {"kind": "sum", "branches": [attention, convolution], "mixture": mixture},
                {"kind": "sum", "branches": [attention, short, recurrence], "mixture": mixture},
                {"kind": "series", "stages": [attention, convolution]},
                {"kind": "series", "stages": [convolution, attention]},
                {
                    "kind": "gated_unit",
                    "hidden": {"times": 2, "of": "dim"},
                    "key_dim": 32,
                    "chunk": {"choice": [32, 64]},
                    "branches": {"choice": ["both", "local", "global"]},
                },
            ]
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [1.5, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
