"""Nested FFN: the first hidden units work alone, at several widths (arXiv 2310.07707)."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class NestedFFN(nn.Module):
    """An FFN run with its first `units[i]` hidden units, i set by `set_prefix`; all of them at
    first."""

    def __init__(self, *, ffn: nn.Module, units: tuple[int, ...]) -> None:
        super().__init__()
        self.ffn = ffn
        self.units = units
        self.prefix_count = len(units)
        self.used = units[-1]

    def set_prefix(self, index: int) -> None:
        """Which prefix `forward` uses; an index past the last is the full width."""
        self.used = self.units[min(index, len(self.units) - 1)]

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        if self.used == self.units[-1]:
            return self.ffn(x)
        weights = {
            name: first_units(name, weight, self.used)
            for name, weight in self.ffn.named_parameters()
        }
        return functional_call(self.ffn, weights, (x,))


def first_units(name: str, weight: Tensor, units: int) -> Tensor:
    """The part of a parameter that belongs to the first hidden units: columns of ``down``, rows of
    every other matrix; the bias of ``down`` belongs to all."""
    if name == "down.bias":
        return weight
    return weight[:, :units] if name == "down.weight" else weight[:units]
