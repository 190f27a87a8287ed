"""The activations by name. This file needs no torch."""

from typing import Literal

ActivationName = Literal["silu", "gelu", "gelu_tanh", "relu", "sigmoid"]
