"""Which mixers serve an encoder?"""

from typing import Any


def encoder_mixers() -> dict[str, Any]:
    """Encoders for masked tokens: attention, linear attention, Fourier mixing, static expansion, a
    bidirectional recurrence and sums of them ("Heterogeneous Encoders Scaling", arXiv
    2312.15872)."""
    head = {"divide": "dim", "by": "heads"}
    attention = {"kind": "attention", "heads": 4, "groups": {"choice": [1, 2, 4]}, "head_dim": head}
    lstm = {"kind": "bidirectional", "mixer": {"kind": "lstm", "hidden": 64}}
    expansion = {"kind": "static_expansion", "vectors": {"choice": [16, 32]}}
    convolution = {"kind": "conformer_conv", "width": {"choice": [7, 15, 31]}}
    return {
        "family": "encoder",
        "vocab": 257,
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {
            "choice": [
                attention,
                {"kind": "linear", "heads": 4, "head_dim": head},
                {"kind": "fnet"},
                expansion,
                convolution,
                lstm,
                {"kind": "sum", "branches": [attention, convolution]},
                {"kind": "sum", "branches": [attention, {"kind": "fnet"}]},
                {"kind": "sum", "branches": [attention, convolution, expansion]},
            ]
        },
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [1.5, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
