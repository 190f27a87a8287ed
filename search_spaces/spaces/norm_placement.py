"""Which norm, where, and do the sublayers run one after the other or side by side?"""

from typing import Any


def norm_placement() -> dict[str, Any]:
    """RMS or LayerNorm before, after or around sublayers that are sequential or parallel. After "On
    Layer Normalization in the Transformer Architecture" (arXiv 2002.04745) and "Peri-LN: Revisiting
    Normalization Layer in the Transformer Architecture" (arXiv 2502.02732)."""
    norms = {"choice": [{"kind": "rms"}, {"kind": "layer"}]}
    residuals = {
        "choice": [
            {"kind": "pre_norm", "norm": norms},
            {"kind": "post_norm", "norm": norms},
            {"kind": "sandwich", "norm": norms},
        ]
    }
    return {
        "dim": {"choice": [64, 128, 192]},
        "depth": {"range": [2, 12]},
        "block": {
            "choice": [
                {"kind": "sequential", "residual": residuals},
                {"kind": "parallel", "residual": residuals},
            ]
        },
        "mixer": {
            "kind": "attention",
            "heads": 4,
            "groups": 4,
            "head_dim": {"divide": "dim", "by": "heads"},
        },
        "ffn": {
            "choice": [
                {"kind": "swiglu", "hidden": {"times": 8 / 3, "of": "dim", "round_to": 16}},
                {"kind": "gelu", "hidden": {"times": 4, "of": "dim"}},
            ]
        },
        "norm": norms,
    }
