"""From an architecture to a model with its first weights, always in the same way."""

from typing import Any

import torch

from nas.plan import execute
from nas.search_spaces.architecture import Architecture


def initialise(architecture: Architecture, seed: int) -> Any:
    """The model with the weights from which every evaluation starts, in float32 on the CPU.

    The whole recipe is: seed torch's global generator, then build, with nothing in between.

        torch.manual_seed(seed)
        model = execute(architecture.plan())

    An exported file draws the same weights with ``torch.manual_seed(seed); model = build()``.
    """
    torch.manual_seed(seed)
    return execute(architecture.plan())
