"""Where does sparsity pay: in the FFN, in attention, in both or in neither?"""

from typing import Any


def experts_and_heads() -> dict[str, Any]:
    """Experts as in "DeepSeekMoE" (arXiv 2401.06066) and "Mixtral of Experts" (arXiv 2401.04088),
    routed heads as in "MoH: Multi-Head Attention as Mixture-of-Head Attention" (arXiv 2410.11842),
    each against its dense form."""
    head = {"divide": "dim", "by": "heads"}
    return {
        "dim": {"choice": [64, 96, 128, 192]},
        "depth": {"range": [2, 8]},
        "mixer": {
            "choice": [
                {
                    "kind": "attention",
                    "heads": {"choice": [4, 8]},
                    "groups": {"choice": [2, 4]},
                    "head_dim": head,
                },
                {
                    "kind": "mixture_of_heads",
                    "heads": {"choice": [4, 8]},
                    "groups": {"choice": [2, 4]},
                    "head_dim": head,
                    "shared": {"choice": [1, 2]},
                    "active": {"choice": [1, 2, 4]},
                },
            ]
        },
        "ffn": {
            "choice": [
                {
                    "kind": "swiglu",
                    "hidden": {"times": {"choice": [2, 8 / 3]}, "of": "dim", "round_to": 16},
                },
                {
                    "kind": "experts",
                    "experts": {"choice": [4, 8, 16]},
                    "top_k": {"choice": [1, 2, 4]},
                    "shared": {"choice": [0, 1, 2]},
                    "expert": {
                        "kind": "swiglu",
                        "hidden": {
                            "times": {"choice": [0.25, 0.5, 1]},
                            "of": "dim",
                            "round_to": 16,
                        },
                    },
                },
            ]
        },
    }
