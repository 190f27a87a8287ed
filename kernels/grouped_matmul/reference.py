"""A matrix product for each group of rows, by its definition.

Shapes: N rows, E groups, D inputs, F outputs.
"""

import torch
from torch import Tensor


def grouped_matmul(x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    """``y_n = x_n W_e`` for each row n of group e; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    start, results = 0, []
    for size, matrix in zip(sizes.tolist(), weight, strict=True):
        for row in x[start : start + size]:
            results.append((row.to(dtype).unsqueeze(1) * matrix.to(dtype)).sum(dim=0))
        start += size
    nothing = x.to(dtype)[start:].sum(dim=-1, keepdim=True) * 0  # keeps x in the graph
    results.extend(nothing.expand(-1, weight.shape[-1]))
    kept = torch.stack(results) if results else x.to(dtype) @ weight[0].to(dtype)
    return kept.to(x.dtype)
