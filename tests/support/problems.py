"""A small exact search problem: a candidate's worth follows from its numbers in closed form."""

import math

import numpy as np

from nas.pareto import Floats
from nas.samplers.encoding import ArchitectureEncoder
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.space import SearchSpace

SPACE = {
    "vocab": 256,
    "dim": {"choice": [32, 64, 96, 128]},
    "depth": {"range": [2, 8]},
    "mixer": {
        "kind": "ratio",
        "background": {"kind": "identity"},
        "placed": {
            "kind": "attention",
            "heads": {"choice": [2, 4, 8]},
            "groups": {"choice": [1, 2, 4]},
            "head_dim": {"divide": "dim", "by": "heads"},
            "scope": {
                "choice": [
                    {"kind": "everything"},
                    {"kind": "window", "window": {"choice": [16, 64]}},
                ]
            },
        },
        "ratio": {"choice": ["0:1", "1:1", "3:1", "1:0"]},
        "placement": {"choice": ["interleaved", "bottom", "top"]},
    },
    "ffn": {
        "choice": [
            {"kind": "swiglu", "hidden": {"range": [32, 512], "log": True}},
            {"kind": "gelu", "hidden": {"range": [32, 512], "step": 32}},
        ]
    },
}
TINY = {
    "vocab": 64,
    "dim": {"choice": [16, 32]},
    "depth": {"choice": [1, 2]},
    "mixer": {
        "choice": [
            {"kind": "identity"},
            {"kind": "attention", "heads": 2, "groups": {"choice": [1, 2]}, "head_dim": 8},
        ]
    },
    "ffn": {"kind": "gelu", "hidden": {"choice": [16, 32]}},
}
"""24 members."""


def space(data: dict | None = None) -> SearchSpace:
    """A typed space; the one above where none is given."""
    return SearchSpace.model_validate(data or SPACE)


def synthetic_loss(architecture: Architecture) -> float:
    """A loss that falls with size, depth, and attention, best low in the stack; SwiGLU wins."""
    attending = [
        i for i, layer in enumerate(architecture.layers) if layer.mixer.kind == "attention"
    ]
    share = len(attending) / architecture.depth
    loss = 5.0 - 0.3 * math.log(architecture.cost(64).params)
    loss -= 0.6 * (1 - math.exp(-3 * share))
    loss -= 0.1 * math.log(architecture.depth)
    if attending:
        loss += 0.2 * sum(attending) / len(attending) / architecture.depth
        window = architecture.layers[attending[0]].mixer.scope.cache_tokens
        loss += 0.1 if window == 16 else 0.0
    return loss - (0.1 if architecture.layers[0].ffn.kind == "swiglu" else 0.0)


def synthetic_values(architecture: Architecture, objectives: int) -> list[float]:
    """Loss, thousands of decoding FLOPs, KV-cache values: the first one, two or three."""
    cost = architecture.cost(256)
    return [synthetic_loss(architecture), cost.decode_flops / 1000, float(cost.cache_values)][
        :objectives
    ]


LAYERWISE = {
    "vocab": 64,
    "dim": 32,
    "depth": 5,
    "mixer": {
        "kind": "each",
        "part": {
            "choice": [
                {"kind": "identity"},
                {"kind": "attention", "heads": {"choice": [2, 4]}, "groups": 2, "head_dim": 8},
            ]
        },
    },
    "ffn": {"kind": "each", "part": {"kind": "gelu", "hidden": {"choice": [16, 32, 64, 128]}}},
}
"""Which layers need attention, and which a wide FFN? About 250,000 members."""


def layerwise_values(architecture: Architecture) -> list[float]:
    """Loss and thousands of decoding FLOPs. Attention pays off at the bottom of the stack, width at
    the top, and each the less the more of it there is."""
    attention = width = 0.0
    for index, layer in enumerate(architecture.layers):
        height = index / (architecture.depth - 1)
        if layer.mixer.kind == "attention":
            attention += (1 - height) ** 2 * layer.mixer.heads / 4
        width += height**2 * layer.ffn.hidden / 128
    loss = 3 - 1.2 * (1 - math.exp(-1.5 * attention)) - 0.8 * (1 - math.exp(-1.5 * width))
    return [loss, architecture.cost(64).decode_flops / 1000]


class Unknowing:
    """Knowledge of a space in which no objective and no limit is known beforehand."""

    def __init__(self, space: SearchSpace, objectives: int) -> None:
        self.encoder = ArchitectureEncoder(space)
        self.objectives = objectives

    def features(self, member: Architecture) -> Floats:
        return self.encoder.features(member)

    def values(self, member: Architecture) -> Floats:
        return np.full(self.objectives, math.nan)

    def violation(self, member: Architecture) -> float:
        return 0.0
