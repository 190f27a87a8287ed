"""A matrix product for each group of rows in plain torch.

Shapes: N rows, E groups, D inputs, F outputs.
"""

import torch
from torch import Tensor


def grouped_matmul(x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    """``y_n = x_n W_e`` for each row n of group e: x [N, D], weight [E, D, F], sizes [E] ->
    [N, F]. Rows after the last group give zeros."""
    counts = sizes.tolist()
    rest = x.shape[0] - sum(counts)
    groups = x.split([*counts, rest])
    work = zip(groups, weight.unbind(), strict=False)
    products = [rows @ matrix for rows, matrix in work if rows.shape[0]]
    products = products or [x[:0] @ weight[0]]  # no rows, but gradients
    if rest:
        products.append(x.new_zeros(rest, weight.shape[-1]))
    return torch.cat(products)
