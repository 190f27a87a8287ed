"""Trained proxy weights on disk."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file


def weights_path(study: str, number: int) -> str:
    """Where the weights of a trial are kept, relative to the data folder."""
    return f"weights/{study}/{number}.safetensors"


def save_weights(model: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """Writes the state dict under its own keys; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    try:
        save_file(state, part, metadata=dict(metadata))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
