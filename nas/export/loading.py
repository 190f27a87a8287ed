"""Loading weights."""

import json
from pathlib import Path

import torch
from torch import Tensor


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from a file in the safetensors format."""
    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    kinds |= {"BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    tensors = {}
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        kind = kinds[entry["dtype"]]
        count = (last - first) // kind.itemsize
        flat = torch.frombuffer(data, dtype=kind, count=count, offset=start + first)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
