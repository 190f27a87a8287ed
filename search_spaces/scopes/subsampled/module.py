"""Attention to random subsets while training (arXiv 2306.01705). Shapes as all scopes have them."""

from typing import Any

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import softmax_where


class Subsampled(nn.Module):
    """In training, tokens are shuffled locally and attend inside windows of the shuffled order, a
    new order for each forward pass; otherwise `dense` runs.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. Of the tokens in its window a token sees
    those that `visible` lets it.
    """

    def __init__(self, *, window: int, reach: int, visible: nn.Module, dense: Any) -> None:
        super().__init__()
        self.window = window
        self.reach = reach
        self.visible = visible
        self.dense = dense

    def empty_cache(self) -> Any:
        """Keys and values that decoding keeps."""
        return self.dense.empty_cache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        whole = q.shape[2] == k.shape[2]  # and not the continuation of a sequence
        if not self.training or not whole or q.shape[2] <= self.window:
            y: Tensor = self.dense(q, k, v, start)
            return y
        order = local_shuffle(q.shape[2], self.reach, q.device)
        shuffled = self.in_windows(q[:, :, order], k[:, :, order], v[:, :, order], order)
        return shuffled[:, :, order.argsort()]

    def in_windows(self, q: Tensor, k: Tensor, v: Tensor, order: Tensor) -> Tensor:
        """Attention inside windows of tokens whose places in the text are `order` [T]."""
        whole = len(order) - len(order) % self.window
        places = order[:whole].unflatten(0, (-1, self.window))  # [N, W]
        masks = torch.vmap(self.visible)(places, places)
        cut = (x[:, :, :whole].unflatten(2, (-1, self.window)).transpose(1, 2) for x in (q, k, v))
        a, b, c = (x.flatten(0, 1) for x in cut)  # [B * N, H, W, K]
        y = softmax_where(a, b, c, masks.repeat(len(q), 1, 1)[:, None])
        y = y.unflatten(0, (len(q), -1)).transpose(1, 2).flatten(2, 3)
        if whole == len(order):
            return y
        a, b, c = (x[:, :, whole:] for x in (q, k, v))
        place = order[whole:]
        return torch.cat((y, softmax_where(a, b, c, self.visible(place, place))), dim=2)


def local_shuffle(time: int, reach: int, device: torch.device) -> Tensor:
    """A random order of `time` tokens in which two may swap if less than `reach` apart."""
    place = torch.arange(time, device=device)
    return (place + reach * torch.rand(time, device=device)).argsort()
