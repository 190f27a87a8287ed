"""Documents laid end to end, with nothing carried from one to the next.

A row of a batch holds several documents and no padding. Most of a model works token by token
and does not care; what mixes tokens, and what knows positions, is shown each document as a row
of its own. Such rows are padded at their right end only, where nothing that reads from left to
right can see it, so every mixer of the catalogue keeps documents apart without knowing of them.

B rows, T tokens of a row, N documents, L tokens of the longest
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

Lengths = Sequence[Sequence[int]]
"""Tokens of each document, for each row of a batch."""


class Packing:
    """Where documents lie in a batch of [B, T] tokens, and how to lay them out one by one."""

    def __init__(self, lengths: Lengths, device: torch.device | str = "cpu") -> None:
        """Raises ValueError for an empty document and for rows of different lengths."""
        totals = {sum(row) for row in lengths}
        flat = [length for row in lengths for length in row]
        if len(totals) != 1 or min(flat) < 1:
            raise ValueError(
                f"documents must fill rows of one length with at least one token each, "
                f"but their lengths are {[list(row) for row in lengths]}"
            )
        self.rows, self.tokens = len(lengths), totals.pop()
        longest = max(flat)
        own = torch.arange(longest)  # [L]
        starts = torch.tensor([0, *accumulate(flat)][:-1]).unsqueeze(1)  # [N, 1]
        inside = own < torch.tensor(flat).unsqueeze(1)  # [N, L]
        # padding repeats a document's first token: a value that is fit to be read
        self._apart = torch.where(inside, starts + own, starts).to(device)
        self._together = inside.flatten().nonzero().squeeze(1).to(device)

    @property
    def padded_share(self) -> float:
        """Part of the laid-out rows that is padding."""
        return 1 - self._together.numel() / self._apart.numel()

    def apart(self, x: Tensor) -> Tensor:
        """[B, T, ...] to [N, L, ...]."""
        return x.flatten(0, 1)[self._apart]

    def together(self, x: Tensor) -> Tensor:
        """[N, L, ...] to [B, T, ...]."""
        return x.flatten(0, 1)[self._together].unflatten(0, (self.rows, self.tokens))


@contextmanager
def packed(model: Any, lengths: Lengths | None = None) -> Iterator[None]:
    """In the body, `model` reads batches that are packed so; None is batches that are not.

    For language models without a state; balance losses count the padding too. Raises ValueError as
    `Packing` does.
    """
    if lengths is None:
        yield
        return
    packing = Packing(lengths, next(model.parameters()).device)
    with ExitStack() as hooks:
        for module in (model.embedding, *_mixers(model.blocks)):
            before = module.register_forward_pre_hook(lambda _, given: _apart(packing, given))
            after = module.register_forward_hook(lambda _, __, out: packing.together(out))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


def _apart(packing: Packing, given: tuple[Any, ...]) -> tuple[Any, ...]:
    first, *rest = given
    return (packing.apart(first), *rest)


def _mixers(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that can carry a state, which are those that mix tokens."""
    for child in module.children():
        if hasattr(child, "empty_state"):
            yield child
        else:
            yield from _mixers(child)
