"""When to train in bfloat16: by rule, so that the same study always trains in the same way.

On a CPU, bfloat16 pays only where the processor multiplies whole tiles of it (AMX) and matrices are
wide enough to outweigh the casts and a slower backward pass of attention. Measured for 4 layers and
a context of 256 on one core of such a processor, bfloat16 against float32: 0.9 times the speed at
width 64, 1.1 at 128, 1.75 at 192, 1.7 at 256, 1.9 at 384. With AMX
switched off, so that avx512_bf16 was left, it ran at 0.6 to 0.75 times the speed at all of them.
"""

import torch

from nas.evaluators.machine import cpu_flags

MIN_DIM = 192
RULE = f"bfloat16 on CUDA devices that have it; on a CPU with amx_bf16 from width {MIN_DIM}"


def uses_bfloat16(dim: int, device: str) -> bool:
    """Whether to train a model of this width under bfloat16 autocast."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return dim >= MIN_DIM and "amx_bf16" in cpu_flags()
