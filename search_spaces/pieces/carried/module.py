"""What a recurrent mixer carries from token to token."""

from torch import Tensor


class Carried:
    """Tensors by name, each [B, ...], and how many tokens were seen."""

    def __init__(self) -> None:
        self.length = 0
        self.tensors: dict[str, Tensor] = {}

    def get(self, name: str) -> Tensor | None:
        """The tensor of that name; None before the first token."""
        return self.tensors.get(name)

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return sum(tensor[0].numel() for tensor in self.tensors.values())
