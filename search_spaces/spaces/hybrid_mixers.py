"""Which linear mixer, how many of its layers for each layer of attention, and where?"""

from typing import Any


def hybrid_mixers() -> dict[str, Any]:
    """Ratios and linear mixers of "A Systematic Analysis of Hybrid Linear Attention"
    (arXiv 2507.06457), with delta rules, state-space mixers and short convolutions besides, and the
    placements of "Multimodal Mamba" (arXiv 2502.13145)."""
    head = {"divide": "dim", "by": "heads"}
    heads = {"heads": {"choice": [2, 4]}, "head_dim": head}
    delta = {"kind": "gated_delta", **heads}
    return {
        "dim": {"choice": [64, 96, 128, 192, 256]},
        "depth": {"range": [2, 12]},
        "mixer": {
            "kind": "ratio",
            "background": {
                "choice": [
                    {"kind": "hgrn"},
                    {"kind": "hgrn2", **heads},
                    {"kind": "retention", **heads},
                    {"kind": "gated_linear", **heads},
                    {**delta, "decay": False, "output_gate": False},
                    delta,
                    {"kind": "kimi_delta", **heads},
                    {"kind": "mamba"},
                    {
                        "kind": "mamba2",
                        "heads": {"divide": "dim", "by": 16},
                        "head_dim": 32,
                        "states": 32,
                    },
                    {"kind": "gated_short_conv"},
                    {"kind": "identity"},
                ]
            },
            "placed": {
                "kind": "attention",
                "heads": {"choice": [2, 4, 8]},
                "groups": {"choice": [1, 2, 4]},
                "head_dim": head,
            },
            "ratio": {"choice": ["0:1", "1:1", "3:1", "6:1", "12:1", "24:1", "1:0"]},
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
        "ffn": {
            "kind": "swiglu",
            "hidden": {"times": {"choice": [1.5, 2, 8 / 3, 4]}, "of": "dim", "round_to": 16},
        },
    }
